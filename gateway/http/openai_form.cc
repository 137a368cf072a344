#include "gateway/http/openai_form.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"

namespace diptych::gateway {
namespace {

AnswerForm::Events One(const nlohmann::ordered_json& chunk) {
  return {{.name = "", .data = Dump(chunk)}};
}

AnswerForm::Events OneOrNone(const std::optional<nlohmann::ordered_json>& chunk) {
  return chunk ? One(*chunk) : AnswerForm::Events();
}

}  // namespace

void OpenAiForm::Start(const std::string& request_id, const std::string& model) {
  head_.id = absl::StrCat(head_.kind == OpenAiKind::kChat ? "chatcmpl-" : "cmpl-", request_id);
  head_.model = model;
}

nlohmann::ordered_json OpenAiForm::Whole(const std::vector<v1::Answer>& answers) {
  return WholeReply(head_, answers);
}

ShownText& OpenAiForm::ShownOf(int choice) {
  return shown_.try_emplace(choice, head_).first->second;
}

AnswerForm::Events OpenAiForm::Begin(int choice, const v1::Delta& first) {
  return OneOrNone(FirstChunk(head_, choice, first, ShownOf(choice)));
}

AnswerForm::Events OpenAiForm::Delta(int choice, const v1::Delta& delta) {
  return OneOrNone(DeltaChunk(head_, choice, delta, ShownOf(choice)));
}

AnswerForm::Events OpenAiForm::Last(int choice, const v1::Answer& answer) {
  return One(LastChunk(head_, choice, answer, ShownOf(choice)));
}

AnswerForm::Events OpenAiForm::End(const std::vector<v1::Answer>& answers) {
  Events events;
  if (head_.include_usage) events = One(UsageChunk(head_, answers));
  events.push_back({.name = "", .data = "[DONE]"});
  return events;
}

AnswerForm::Events OpenAiForm::Failed(const absl::Status& status) {
  return One(ErrorBody(status));
}

}  // namespace diptych::gateway
