#include "gateway/http/openai_content.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {

using nlohmann::json;

absl::Status ReadImageUrl(const std::string& url, const std::string& path, v1::Image& image) {
  if (!absl::StartsWithIgnoreCase(url, "data:")) {
    image.set_url(url);
    return absl::OkStatus();
  }
  const size_t comma = url.find(',');
  const size_t head_end = comma == std::string::npos ? 0 : comma;
  if (!absl::EndsWithIgnoreCase(absl::string_view(url).substr(0, head_end), ";base64")) {
    return Invalid(path, "a data: URL takes the form data:image/...;base64,...");
  }
  if (!absl::Base64Unescape(absl::string_view(url).substr(comma + 1), image.mutable_data())) {
    return Invalid(path, "the data: URL is not base64");
  }
  return absl::OkStatus();
}

namespace {

absl::Status ReadPart(const json& part, const std::string& path, bool images_allowed, std::string& text,
                      v1::Question& question) {
  Members members(part, path);
  const std::string type = members.Text("type");
  if (type == "text") {
    const json* value = members.Take("text");
    if (value == nullptr || !value->is_string()) return Invalid(members.Path("text"), "takes a string");
    if (!text.empty()) text += '\n';
    text += value->get<std::string>();
  } else if (type == "image_url" && images_allowed) {
    const json* object = members.Take("image_url");
    if (object == nullptr) return Invalid(members.Path("image_url"), "is missing");
    Members inner(*object, members.Path("image_url"));
    const std::string url = inner.Text("url");
    const std::string detail = inner.Text("detail");
    if (!detail.empty() && detail != "auto" && detail != "low" && detail != "high") {
      inner.Fail(Invalid(inner.Path("detail"), "takes auto, low or high; all mean the model's own resolution"));
    }
    DIPTYCH_RETURN_IF_ERROR(inner.Finish());
    DIPTYCH_RETURN_IF_ERROR(ReadImageUrl(url, inner.Path("url"), *question.add_images()));
  } else {
    return InvalidField(
        kUnsupportedParameter, members.Path("type"),
        images_allowed ? "a part is \"text\" or \"image_url\"" : "an assistant's message holds text only");
  }
  return members.Finish();
}

absl::Status ReadMessage(const json& message, const std::string& path, v1::Question& question) {
  Members members(message, path);
  const std::string role = members.Text("role");
  v1::Turn turn;
  if (role == "user") {
    turn.set_role(v1::ROLE_USER);
  } else if (role == "assistant") {
    turn.set_role(v1::ROLE_ASSISTANT);
  } else {
    return InvalidField(kUnsupportedParameter, members.Path("role"),
                        "a message's role is \"user\" or \"assistant\": BLIP-2 knows no other");
  }
  const json* content = members.Take("content");
  if (content != nullptr && content->is_string()) {
    turn.set_text(content->get<std::string>());
  } else if (content != nullptr && content->is_array()) {
    std::string text;
    for (size_t i = 0; i < content->size(); ++i) {
      DIPTYCH_RETURN_IF_ERROR(ReadPart((*content)[i], absl::StrCat(members.Path("content"), "[", i, "]"),
                                       turn.role() == v1::ROLE_USER, text, question));
    }
    turn.set_text(std::move(text));
  } else {
    return Invalid(members.Path("content"), "takes a string or a list of parts");
  }
  for (const char* name : {"refusal", "tool_calls", "function_call", "audio"}) members.Neutral(name);
  *question.add_turns() = std::move(turn);
  return members.Finish();
}

}  // namespace

void ReadMessages(Members& members, v1::Question& question) {
  const json* messages = members.Take("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return members.Fail(Invalid("messages", "takes a list of at least one message"));
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    if (const auto status = ReadMessage((*messages)[i], absl::StrCat("messages[", i, "]"), question); !status.ok()) {
      return members.Fail(status);
    }
  }
  // An image alone asks for its caption, which is the empty prompt.
  if (question.turns_size() == 1 && question.turns(0).text().empty() && question.images_size() > 0) {
    question.clear_turns();
  }
}

}  // namespace diptych::gateway
