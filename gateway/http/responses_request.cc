#include "gateway/http/responses_request.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/json_input.h"
#include "gateway/http/json_members.h"
#include "gateway/http/known_fields.h"
#include "gateway/http/openai_content.h"
#include "gateway/http/openai_options.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;
using Speaker = Message::Speaker;

constexpr size_t kMaxMetadata = 16;

// Why an item of the input that is no message is refused: "function_call_output" and its kind belong to tools.
std::string WhyNoMessage(const std::string& type) {
  if (type.find("_call") != type.npos || type.starts_with("mcp_")) {
    return absl::StrCat("an item of type ", Excerpt(type), " has no place here: this model calls no tools");
  }
  return absl::StrCat("an item of the input is a message, not ", Excerpt(type),
                      ": items are not kept here, so each comes whole");
}

absl::StatusOr<Message> ReadItem(const json& item, const std::string& path) {
  Members members(item, path);
  const std::string type = members.Text("type");
  if (!type.empty() && type != "message") {
    return InvalidField(kUnsupportedParameter, members.Path("type"), WhyNoMessage(type));
  }
  IgnoreBookkeeping(members);
  const std::string role = members.Text("role");
  DIPTYCH_RETURN_IF_ERROR(members.fault());
  Message message;
  message.field = members.Path("content");
  DIPTYCH_ASSIGN_OR_RETURN(message.speaker, ReadRole(role, members.Path("role")));
  if (const json* content = members.Take("content"); content != nullptr) {
    DIPTYCH_RETURN_IF_ERROR(ReadContent(*content, message.field, message));
  }
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return message;
}

absl::Status ReadInput(Members& members, std::vector<Message>& messages) {
  const json* input = members.Take("input");
  if (input != nullptr && input->is_string()) {
    messages.push_back({.speaker = Speaker::kUser,
                        .text = input->get<std::string>(),
                        .images = {},
                        .field = "input",
                        .image_fields = {}});
    return absl::OkStatus();
  }
  if (input == nullptr || !input->is_array() || input->empty()) {
    return Invalid("input", input == nullptr && members.Take("messages") != nullptr
                                ? "is what messages are called here; /v1/chat/completions takes messages"
                                : "takes a string or a list of at least one message");
  }
  for (size_t i = 0; i < input->size(); ++i) {
    const json& item = (*input)[i];
    if (item.is_object() && item.value("type", json()) == "reasoning") continue;  // another model's
    DIPTYCH_ASSIGN_OR_RETURN(Message message, ReadItem(item, absl::StrCat("input[", i, "]")));
    messages.push_back(std::move(message));
  }
  return absl::OkStatus();
}

absl::Status ReadConversation(Members& members, SystemPrompt system_prompt, ResponsesRequest& request) {
  std::vector<Message> messages;
  if (const std::string instructions = members.Text("instructions"); !instructions.empty()) {
    messages.push_back(
        {.speaker = Speaker::kSystem, .text = instructions, .images = {}, .field = "instructions", .image_fields = {}});
    request.echo["instructions"] = instructions;
  }
  DIPTYCH_RETURN_IF_ERROR(members.fault());
  DIPTYCH_RETURN_IF_ERROR(ReadInput(members, messages));
  return SetConversation(std::move(messages), system_prompt, request.question.question, request.question.names);
}

// A member that is an object in which nothing but `known` asks for anything.
void NeutralObject(Members& members, const char* name, const char* known, const json& neutral, std::string_view why) {
  const json* object = members.Take(name);
  if (object == nullptr) return;
  Members inner(*object, name);
  if (const json* value = inner.Take(known); value != nullptr && *value != neutral) {
    inner.Fail(InvalidField(kUnsupportedParameter, inner.Path(known), why));
  }
  inner.Ignore({"context", "summary", "generate_summary"});  // nothing is thought that could be kept or summed up
  inner.Neutral("mode", "standard");
  inner.Neutral("verbosity", "medium");
  members.Fail(inner.Finish());
}

void ReadMetadata(Members& members, ResponsesRequest& request) {
  const json* metadata = members.Take("metadata");
  if (metadata == nullptr) return;
  bool fits = metadata->is_object() && metadata->size() <= kMaxMetadata;
  for (const json& value : *metadata)
    fits = fits && value.is_string() && value.get_ref<const std::string&>().size() <= 512;
  if (!fits) return members.Fail(Invalid("metadata", "takes an object of at most 16 strings of at most 512 bytes"));
  request.echo["metadata"] = *metadata;
}

// Allowed entries of the list of extras: there is no reasoning whose content could be missing.
void ReadInclude(Members& members) {
  const json* include = members.Take("include");
  if (include == nullptr) return;
  if (!include->is_array()) return members.Fail(Invalid("include", "takes a list"));
  for (const json& extra : *include) {
    if (extra == "reasoning.encrypted_content") continue;
    members.Fail(InvalidField(kUnsupportedParameter, "include",
                              "\"include\" asks for what replies do not contain; leave it out"));
  }
}

void ReadOwnOptions(Members& members, ResponsesRequest& request) {
  v1::GenerationOptions& generation = *request.question.question.mutable_generation();
  members.Bound("max_output_tokens", [&](int32_t value) {
    if (value == -1) return;  // no bound of the caller's
    generation.set_max_new_tokens(value);
    request.echo["max_output_tokens"] = value;
  });
  ReadMetadata(members, request);
  ReadInclude(members);
  NeutralObject(members, "text", "format", json::object({{"type", "text"}}), kTextOnly);
  NeutralObject(members, "reasoning", "effort", "none", kNoReasoning);
  if (request.question.choices != 1) members.Fail(Invalid("n", "takes 1: a response is one answer"));
}

// "auto" is what happens here: the oldest turns go. A single one cannot, which is all that "disabled" asks for.
void ReadTruncation(Members& members, ResponsesRequest& request) {
  const std::string truncation = members.Text("truncation");
  if (truncation.empty() || truncation == "auto") return;
  request.echo["truncation"] = truncation;
  if (truncation != "disabled") return members.Fail(Invalid("truncation", "takes auto or disabled"));
  if (request.question.question.turns_size() <= 1) return;
  members.Fail(InvalidField(kUnsupportedParameter, "truncation",
                            "the oldest turns of a conversation go where the window is too small: take auto"));
}

}  // namespace

absl::StatusOr<ResponsesRequest> ReadResponsesRequest(std::string_view body, SystemPrompt system_prompt) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  ResponsesRequest request;
  request.question.names.content = "input";
  request.question.names.options["max_new_tokens"] = "max_output_tokens";
  Members members(object, "");
  ReadOptions(members, request.question);
  ReadOwnOptions(members, request);
  members.Fail(ReadConversation(members, system_prompt, request));
  ReadTruncation(members, request);
  TakeKnownFields(members);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  const v1::GenerationOptions& generation = request.question.question.generation();
  request.echo["temperature"] = generation.temperature();
  request.echo["top_p"] = generation.has_top_p() ? generation.top_p() : 1;
  return request;
}

}  // namespace diptych::gateway
