#include "gateway/http/tokenize_request.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/status.h"
#include "common/text/json_input.h"
#include "gateway/http/json_members.h"
#include "gateway/http/known_fields.h"
#include "gateway/http/openai_content.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Absent means true.
bool AddsSpecialTokens(Members& members) {
  return members.Take("add_special_tokens") == nullptr || members.Flag("add_special_tokens");
}

void ReadMessagesToTokenize(Members& members, SystemPrompt system_prompt, TokenizeBody& read) {
  OpenAiRequest chat;
  ReadMessages(members, system_prompt, chat);
  *read.request.mutable_turns() = std::move(*chat.question.mutable_turns());
  read.request.set_images(chat.question.images_size());
  read.names = std::move(chat.names);
  if (members.Flag("add_special_tokens")) {
    members.Fail(InvalidField(kUnsupportedParameter, "add_special_tokens",
                              "a conversation has its beginning-of-sequence token already"));
  }
}

void ReadPromptToTokenize(Members& members, TokenizeBody& read) {
  read.names.content = "prompt";
  const json* prompt = members.Take("prompt");
  if (prompt == nullptr || !prompt->is_string()) {
    return members.Fail(Invalid("prompt", "takes a string; a conversation goes into messages"));
  }
  read.request.set_prompt(prompt->get<std::string>());
  read.request.set_without_bos(!AddsSpecialTokens(members));
}

}  // namespace

absl::StatusOr<TokenizeBody> ReadTokenizeRequest(std::string_view body, SystemPrompt system_prompt) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  TokenizeBody read;
  Members members(object, "");
  read.model = members.Text("model");
  if (members.Take("messages") == nullptr) {
    ReadPromptToTokenize(members, read);
  } else if (members.Take("prompt") == nullptr) {
    ReadMessagesToTokenize(members, system_prompt, read);
  } else {
    members.Fail(Invalid("prompt", "cannot be combined with messages"));
  }
  TakeKnownFields(members);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return read;
}

absl::StatusOr<DetokenizeBody> ReadDetokenizeRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  DetokenizeBody read;
  read.names.options["token_ids"] = "tokens";
  Members members(object, "");
  read.model = members.Text("model");
  const json* tokens = members.Take("tokens");
  const auto ids = tokens == nullptr ? std::nullopt : WholeNumbers(*tokens);
  if (!ids) return Invalid("tokens", "takes a list of token ids");
  read.request.mutable_token_ids()->Add(ids->begin(), ids->end());
  TakeKnownFields(members);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return read;
}

ordered_json TokenizeReply(const v1::TokenizeResponse& response) {
  return {{"count", response.token_ids_size()},
          {"max_model_len", response.window_tokens()},
          {"tokens", std::vector<int32_t>(response.token_ids().begin(), response.token_ids().end())},
          {"token_strs", nullptr}};
}

ordered_json DetokenizeReply(const v1::DetokenizeResponse& response) {
  return {{"prompt", response.text()}};
}

}  // namespace diptych::gateway
