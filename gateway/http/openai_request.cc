#include "gateway/http/openai_request.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/requests/question_limits.h"
#include "common/status.h"
#include "common/text/json_input.h"
#include "gateway/http/image_source.h"
#include "gateway/http/json_members.h"
#include "gateway/http/known_fields.h"
#include "gateway/http/openai_content.h"
#include "gateway/http/openai_options.h"

namespace diptych::gateway {

using nlohmann::json;

namespace {

// A string, or a list of token ids; nullopt for anything else.
std::optional<CompletionPrompt> ReadPrompt(const json& value) {
  if (value.is_string()) return CompletionPrompt{.text = value.get<std::string>(), .ids = {}};
  if (value.size() > kMaxPromptTokenIds) return std::nullopt;
  auto ids = WholeNumbers(value);
  if (!ids || ids->empty()) return std::nullopt;
  return CompletionPrompt{.text = "", .ids = *std::move(ids)};
}

// One prompt or a list of them.
void ReadPrompts(Members& members, std::vector<CompletionPrompt>& prompts) {
  const json* value = members.Take("prompt");
  const json missing;
  if (value == nullptr && members.Take("messages") != nullptr) {
    return members.Fail(Invalid("prompt", "is what messages are called here; /v1/chat/completions takes messages"));
  }
  if (value == nullptr) value = &missing;
  const bool many = value->is_array() && !value->empty() && !value->front().is_number();
  const size_t count = many ? value->size() : 1;
  if (count > kMaxPrompts) {
    return members.Fail(Invalid("prompt", absl::StrCat("takes at most ", kMaxPrompts, " prompts, not ", count)));
  }
  for (size_t i = 0; i < count; ++i) {
    std::optional<CompletionPrompt> prompt = ReadPrompt(many ? (*value)[i] : *value);
    if (!prompt) {
      return members.Fail(Invalid("prompt", absl::StrCat("takes a string, a list of at most ", kMaxPromptTokenIds,
                                                         " token ids, or a list of either")));
    }
    prompts.push_back(*std::move(prompt));
  }
}

}  // namespace

absl::StatusOr<OpenAiRequest> ReadChatRequest(std::string_view body, SystemPrompt system_prompt) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  OpenAiRequest request;
  Members members(object, "");
  ReadOptions(members, request);
  ReadMessages(members, system_prompt, request);
  ReadChatOptions(members, request);
  TakeKnownFields(members);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

absl::StatusOr<OpenAiRequest> ReadCompletionRequest(std::string_view body) {
  constexpr JsonCounts kMost{.numbers = (kMaxPrompts + 1) * kMaxPromptTokenIds};  // one more: for its other lists
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body, "the body", kMost));
  OpenAiRequest request;
  Members members(object, "");
  ReadOptions(members, request);
  request.names.content = "prompt";
  ReadPrompts(members, request.prompts);
  ReadCompletionOptions(members, request);
  TakeKnownFields(members);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

absl::StatusOr<v1::AnalyzeImageRequest> ReadAnalyzeRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  v1::AnalyzeImageRequest request;
  Members members(object, "");
  DIPTYCH_RETURN_IF_ERROR(ReadImageSource(members.Text("image"), "image", *request.mutable_image()));
  ReadImageOptions(members, *request.mutable_options());
  request.set_cls_attention(members.Flag("cls_attention"));
  request.set_qformer_attention(members.Flag("qformer_attention"));
  request.set_prepared_image(members.Flag("prepared_image"));
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

}  // namespace diptych::gateway
