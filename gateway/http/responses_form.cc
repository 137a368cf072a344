#include "gateway/http/responses_form.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/http/openai_reply.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

ordered_json Part(std::string_view text) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", ordered_json::array()},
          {"logprobs", ordered_json::array()}};
}

ordered_json UsageOf(const v1::Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens()},
          {"input_tokens_details", {{"cached_tokens", usage.cached_tokens()}}},
          {"output_tokens", usage.completion_tokens()},
          {"output_tokens_details", {{"reasoning_tokens", 0}}},
          {"total_tokens", usage.total_tokens()}};
}

const char* StatusOf(const v1::Answer& answer) {
  return answer.finish_reason() == v1::FINISH_REASON_LENGTH ? "incomplete" : "completed";
}

}  // namespace

void ResponsesForm::Start(const std::string& request_id, const std::string& model) {
  request_id_ = request_id;
  model_ = model;
}

ordered_json ResponsesForm::Response(const char* status) const {
  ordered_json response{{"id", absl::StrCat("resp_", request_id_)},
                        {"object", "response"},
                        {"created_at", created_},
                        {"status", status},
                        {"background", false},
                        {"error", nullptr},
                        {"incomplete_details", nullptr},
                        {"instructions", nullptr},
                        {"max_output_tokens", nullptr},
                        {"model", model_},
                        {"output", ordered_json::array()},
                        {"parallel_tool_calls", false},
                        {"previous_response_id", nullptr},
                        {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
                        {"store", false},
                        {"temperature", 0},
                        {"text", {{"format", {{"type", "text"}}}}},
                        {"tool_choice", "none"},
                        {"tools", ordered_json::array()},
                        {"top_p", 1},
                        {"truncation", "auto"},
                        {"usage", nullptr},
                        {"metadata", ordered_json::object()}};
  response.update(echo_);
  return response;
}

ordered_json ResponsesForm::Item(const char* status) const {
  return {{"id", absl::StrCat("msg_", request_id_)},
          {"type", "message"},
          {"status", status},
          {"role", "assistant"},
          {"content", ordered_json::array()}};
}

ordered_json ResponsesForm::Whole(const std::vector<v1::Answer>& answers) {
  const v1::Answer& answer = answers.front();
  const char* status = StatusOf(answer);
  ordered_json response = Response(status);
  if (answer.finish_reason() == v1::FINISH_REASON_LENGTH) {
    response["incomplete_details"] = {{"reason", "max_output_tokens"}};
  }
  ordered_json item = Item(status);
  item["content"].push_back(Part(answer.text()));
  response["output"].push_back(std::move(item));
  response["usage"] = UsageOf(answer.usage());
  response["diptych"] = Measured(answer);
  return response;
}

HttpEvent ResponsesForm::Event(const char* type, ordered_json members) {
  ordered_json event{{"type", type}, {"sequence_number", next_event_++}};
  event.update(members);
  return {.name = type, .data = Dump(event)};
}

HttpEvent ResponsesForm::PartEvent(const char* type, ordered_json members) {
  ordered_json place{{"item_id", absl::StrCat("msg_", request_id_)}, {"output_index", 0}, {"content_index", 0}};
  place.update(members);
  return Event(type, std::move(place));
}

AnswerForm::Events ResponsesForm::Begin(int /*choice*/, const v1::Delta& /*first*/) {
  const ordered_json response = Response("in_progress");
  Events events;
  events.push_back(Event("response.created", {{"response", response}}));
  events.push_back(Event("response.in_progress", {{"response", response}}));
  events.push_back(Event("response.output_item.added", {{"output_index", 0}, {"item", Item("in_progress")}}));
  events.push_back(PartEvent("response.content_part.added", {{"part", Part("")}}));
  return events;
}

AnswerForm::Events ResponsesForm::Delta(int /*choice*/, const v1::Delta& delta) {
  return {PartEvent("response.output_text.delta", {{"delta", delta.text()}, {"logprobs", ordered_json::array()}})};
}

AnswerForm::Events ResponsesForm::Last(int /*choice*/, const v1::Answer& answer) {
  ordered_json item = Item(StatusOf(answer));
  item["content"].push_back(Part(answer.text()));
  Events events;
  events.push_back(
      PartEvent("response.output_text.done", {{"text", answer.text()}, {"logprobs", ordered_json::array()}}));
  events.push_back(PartEvent("response.content_part.done", {{"part", Part(answer.text())}}));
  events.push_back(Event("response.output_item.done", {{"output_index", 0}, {"item", std::move(item)}}));
  return events;
}

AnswerForm::Events ResponsesForm::End(const std::vector<v1::Answer>& answers) {
  return {Event(absl::StrCat("response.", StatusOf(answers.front())).c_str(), {{"response", Whole(answers)}})};
}

AnswerForm::Events ResponsesForm::Failed(const absl::Status& status) {
  const ordered_json error = ErrorBody(status)["error"];
  ordered_json response = Response("failed");
  response["error"] = {{"code", error["code"].is_null() ? ordered_json("server_error") : error["code"]},
                       {"message", error["message"]}};
  return {Event("response.failed", {{"response", std::move(response)}})};
}

}  // namespace diptych::gateway
