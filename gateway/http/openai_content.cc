#include "gateway/http/openai_content.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "gateway/http/image_source.h"

namespace diptych::gateway {

using nlohmann::json;
using Speaker = Message::Speaker;

absl::Status CheckDetail(std::string_view detail, const std::string& field) {
  for (const std::string_view known : {"", "auto", "low", "high", "original"}) {
    if (detail == known) return absl::OkStatus();
  }
  return Invalid(field, "takes auto, low, high or original; all mean the model's own resolution");
}

absl::StatusOr<Message::Speaker> ReadRole(const std::string& role, const std::string& field) {
  if (role == "user") return Speaker::kUser;
  if (role == "assistant") return Speaker::kAssistant;
  if (role == "system" || role == "developer") return Speaker::kSystem;
  if (role == "tool" || role == "function") {
    return InvalidField(kUnsupportedParameter, field,
                        absl::StrCat("a \"", role, "\" message has no place here: this model calls no tools"));
  }
  return InvalidField(kUnsupportedParameter, field, "a message's role is user, assistant, system or developer");
}

namespace {

// {"url": ..., "detail": ...} or the URL alone.
absl::Status ReadImageUrl(const json& value, const std::string& field, Message& message) {
  v1::Image image;
  if (value.is_string()) {
    DIPTYCH_RETURN_IF_ERROR(ReadImageSource(value.get<std::string>(), field, image));
    message.image_fields.push_back(field);
  } else {
    Members members(value, field);
    std::string url = members.Text("url");
    members.Fail(CheckDetail(members.Text("detail"), members.Path("detail")));
    members.Ignore({"format"});
    DIPTYCH_RETURN_IF_ERROR(members.Finish());
    DIPTYCH_RETURN_IF_ERROR(ReadImageSource(std::move(url), members.Path("url"), image));
    message.image_fields.push_back(members.Path("url"));
  }
  message.images.push_back(std::move(image));
  return absl::OkStatus();
}

// "text" or "refusal", whose member has the same name.
absl::Status ReadTextPart(Members& members, const std::string& type, Message& message) {
  const json* value = members.Take(type.c_str());
  if (value == nullptr || !value->is_string()) return Invalid(members.Path(type), "takes a string");
  if (!message.text.empty()) message.text += '\n';
  message.text += value->get<std::string>();
  return members.Finish();
}

absl::Status ReadPart(const json& part, const std::string& path, Message& message) {
  Members members(part, path);
  members.Ignore({"cache_control"});
  const std::string type = members.Text("type");
  if (type == "text" || (type == "refusal" && message.speaker == Speaker::kAssistant)) {
    return ReadTextPart(members, type, message);
  }
  if (type == "image_url" && message.speaker == Speaker::kUser) {
    const json* value = members.Take("image_url");
    if (value == nullptr) return Invalid(members.Path("image_url"), "is missing");
    DIPTYCH_RETURN_IF_ERROR(ReadImageUrl(*value, members.Path("image_url"), message));
    return members.Finish();
  }
  return InvalidField(kUnsupportedParameter, members.Path("type"),
                      message.speaker == Speaker::kUser ? "a part is \"text\" or \"image_url\""
                                                        : "only the user's messages hold anything but text");
}

absl::Status ReadContent(const json& content, const std::string& path, Message& message) {
  if (content.is_string()) {
    message.text = content.get<std::string>();
    return absl::OkStatus();
  }
  if (!content.is_array()) return Invalid(path, "takes a string or a list of parts");
  for (size_t i = 0; i < content.size(); ++i) {
    DIPTYCH_RETURN_IF_ERROR(ReadPart(content[i], absl::StrCat(path, "[", i, "]"), message));
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> ReadMessage(const json& object, const std::string& path) {
  Members members(object, path);
  Message message;
  message.field = members.Path("content");
  const std::string role = members.Text("role");
  DIPTYCH_RETURN_IF_ERROR(members.fault());
  DIPTYCH_ASSIGN_OR_RETURN(message.speaker, ReadRole(role, members.Path("role")));
  if (const json* content = members.Take("content"); content != nullptr) {
    DIPTYCH_RETURN_IF_ERROR(ReadContent(*content, message.field, message));
  }
  if (message.speaker == Speaker::kAssistant) {
    const std::string refusal = members.Text("refusal");
    if (message.text.empty()) message.text = refusal;
  } else {
    members.Neutral("refusal");
  }
  members.Ignore({"name", "id", "cache_control", "reasoning", "reasoning_content"});
  for (const char* name : {"tool_calls", "function_call", "audio", "annotations"}) members.Neutral(name);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return message;
}

absl::StatusOr<std::vector<Message>> ReadAll(const json* list) {
  if (list == nullptr || !list->is_array() || list->empty()) {
    return Invalid("messages", "takes a list of at least one message");
  }
  std::vector<Message> messages;
  for (size_t i = 0; i < list->size(); ++i) {
    DIPTYCH_ASSIGN_OR_RETURN(Message message, ReadMessage((*list)[i], absl::StrCat("messages[", i, "]")));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace

void ReadMessages(Members& members, SystemPrompt system_prompt, OpenAiRequest& request) {
  absl::StatusOr<std::vector<Message>> messages = ReadAll(members.Take("messages"));
  members.Fail(messages.ok() ? SetConversation(*std::move(messages), system_prompt, request.question, request.names)
                             : messages.status());
}

}  // namespace diptych::gateway
