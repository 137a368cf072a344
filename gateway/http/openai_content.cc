#include "gateway/http/openai_content.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "gateway/http/image_source.h"

namespace diptych::gateway {

using nlohmann::json;
using Speaker = Message::Speaker;

absl::StatusOr<Message::Speaker> ReadRole(const std::string& role, const std::string& field) {
  if (role == "user") return Speaker::kUser;
  if (role == "assistant") return Speaker::kAssistant;
  if (role == "system" || role == "developer") return Speaker::kSystem;
  if (role == "tool" || role == "function") {
    return InvalidField(kUnsupportedParameter, field,
                        absl::StrCat("a \"", role, "\" message has no place here: this model calls no tools"));
  }
  constexpr char kRoles[] = "a message's role is user, assistant, system or developer";
  return InvalidField(kUnsupportedParameter, field,
                      role.empty() ? kRoles : absl::StrCat(kRoles, ", not ", Excerpt(role)));
}

namespace {

// Members that clients keep with messages and their parts.
constexpr const char* kBookkeeping[] = {
    // which one it is, and when it was written
    "id", "uuid", "name", "status", "index", "phase", "timestamp", "created", "created_at", "createdAt", "updated_at",
    "updatedAt", "messageId", "message_id",
    // where it belongs
    "parent_id", "parentId", "parentMessageId", "childrenIds", "conversationId", "conversation_id", "thread_id",
    "chat_id", "session_id", "user_id", "sender", "isCreatedByUser",
    // who answered, and how
    "model", "models", "modelName", "modelIdx", "model_name", "weight", "done", "info", "usage", "annotations",
    "logprobs", "extra_content", "thought_signature", "thoughtSignature",
    // words for providers and libraries
    "metadata", "extra", "extras", "cache_control", "prompt_cache_breakpoint", "provider_specific_fields",
    "provider_options", "providerOptions", "providerMetadata", "additional_kwargs", "response_metadata"};

// Members that they keep with images, whose format the bytes alone decide.
constexpr const char* kImageBookkeeping[] = {
    // how it is stored
    "format", "type", "source_type", "mime_type", "mimeType", "media_type", "mediaType", "filename", "file_name",
    "image_id", "expires_at", "size",
    // what is said about it
    "alt", "alt_text", "title", "width", "height"};

}  // namespace

void IgnoreBookkeeping(Members& members) {
  members.Ignore(kBookkeeping);
}

namespace {

// The model has one resolution of its own, whatever is asked for.
absl::Status CheckDetail(std::string_view detail, const std::string& field) {
  for (const std::string_view known : {"", "auto", "low", "high", "original"}) {
    if (detail == known) return absl::OkStatus();
  }
  return Invalid(field, "takes auto, low, high or original; all mean the model's own resolution");
}

// {"url": ..., "detail": ...}, or, as Anthropic has it, {"data": ...}, or the URL or base64 alone.
absl::Status ReadImageUrl(const json& value, const std::string& field, Message& message) {
  v1::Image image;
  if (value.is_string()) {
    DIPTYCH_RETURN_IF_ERROR(ReadImageSource(value.get<std::string>(), field, image));
    message.image_fields.push_back(field);
  } else {
    Members members(value, field);
    const char* name = value.contains("data") ? "data" : "url";
    std::string url = members.Text(name);
    members.Fail(CheckDetail(members.Text("detail"), members.Path("detail")));
    IgnoreBookkeeping(members);
    members.Ignore(kImageBookkeeping);
    DIPTYCH_RETURN_IF_ERROR(members.Finish());
    DIPTYCH_RETURN_IF_ERROR(ReadImageSource(std::move(url), members.Path(name), image));
    message.image_fields.push_back(members.Path(name));
  }
  message.images.push_back(std::move(image));
  return absl::OkStatus();
}

// Of a part whose member `name` holds it.
absl::Status ReadImagePart(Members& members, const char* name, Message& message) {
  if (const json* id = members.Take("file_id"); id != nullptr && !IsEmptyValue(*id)) {
    members.Fail(InvalidField(kUnsupportedParameter, members.Path("file_id"),
                              "no files are kept here: send the image itself, as data:image/jpeg;base64,..."));
  }
  members.Ignore(kImageBookkeeping);
  members.Fail(CheckDetail(members.Text("detail"), members.Path("detail")));
  DIPTYCH_RETURN_IF_ERROR(members.fault());
  const json* value = members.Take(name);
  if (value == nullptr) return Invalid(members.Path(name), "is missing");
  DIPTYCH_RETURN_IF_ERROR(ReadImageUrl(*value, members.Path(name), message));
  return members.Finish();
}

absl::Status ReadTextPart(Members& members, const char* name, Message& message) {
  const std::string text = members.Text(name);
  if (!message.text.empty()) message.text += '\n';
  message.text += text;
  return members.Finish();
}

// The member of an image part that holds it.
const char* PlaceOfImage(const json& part, std::string_view type) {
  if (type != "image") return "image_url";
  for (const char* name : {"image_url", "url", "source", "base64", "data"}) {
    if (part.contains(name)) return name;
  }
  return "image";
}

// A part without a type is what its member says.
std::string TypeOf(const json& part, Members& members) {
  std::string type = members.Text("type");
  for (const char* known : {"text", "refusal", "image_url", "image"}) {
    if (type.empty() && part.is_object() && part.contains(known)) type = known;
  }
  return type;
}

// Another model's reasoning is not part of its answer.
bool IsThought(std::string_view type) {
  return type == "thinking" || type == "redacted_thinking" || type == "reasoning";
}

// null is no part.
absl::Status ReadPart(const json& part, const std::string& path, Message& message) {
  if (part.is_null()) return absl::OkStatus();
  if (part.is_string()) return ReadPart({{"text", part}}, path, message);
  Members members(part, path);
  IgnoreBookkeeping(members);
  const bool user = message.speaker == Speaker::kUser;
  const std::string type = TypeOf(part, members);
  if (IsThought(type) && message.speaker == Speaker::kAssistant) return members.fault();
  if (type == "text" || type == "input_text" || type == "output_text") return ReadTextPart(members, "text", message);
  if (type == "refusal" && message.speaker == Speaker::kAssistant) return ReadTextPart(members, "refusal", message);
  if (type == "image_url" || type == "input_image" || type == "image") {
    if (!user) {
      return InvalidField(kUnsupportedParameter, members.Path("type"),
                          "only the user's messages hold anything but text");
    }
    return ReadImagePart(members, PlaceOfImage(part, type), message);
  }
  DIPTYCH_RETURN_IF_ERROR(members.fault());
  const std::string instead = type.empty() ? "" : absl::StrCat(", not ", Excerpt(type));
  constexpr char kParts[] = "a part is \"text\" or \"image_url\", \"input_text\" or \"input_image\"";
  return InvalidField(kUnsupportedParameter, members.Path("type"),
                      absl::StrCat(user ? kParts : "only the user's messages hold anything but text", instead));
}

}  // namespace

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

namespace {

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
  if (const json* images = members.Take("images"); images != nullptr && !AsksForNothing(*images)) {
    return InvalidField(kUnsupportedParameter, members.Path("images"),
                        "an image is a part of content here: {\"type\": \"image_url\", \"image_url\": {\"url\": ...}}");
  }
  IgnoreBookkeeping(members);
  members.Ignore({"reasoning", "reasoning_content", "reasoning_details", "reasoning_signature", "thinking"});
  members.Neutral("type", "message");
  for (const char* name : {"tool_calls", "function_call", "audio"}) members.Neutral(name);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return message;
}

// The error, naming the member that a body of another path has instead.
std::string_view WhyNoMessages(Members& members) {
  if (members.Take("input") != nullptr) return "is what input is called here; /v1/responses takes input";
  if (members.Take("prompt") != nullptr) return "is what a prompt is called here; /v1/completions takes a prompt";
  return "takes a list of at least one message";
}

absl::StatusOr<std::vector<Message>> ReadAll(Members& members) {
  const json* list = members.Take("messages");
  if (list == nullptr || !list->is_array() || list->empty()) {
    return Invalid("messages", list == nullptr ? WhyNoMessages(members) : "takes a list of at least one message");
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
  absl::StatusOr<std::vector<Message>> messages = ReadAll(members);
  members.Fail(messages.ok() ? SetConversation(*std::move(messages), system_prompt, request.question, request.names)
                             : messages.status());
}

}  // namespace diptych::gateway
