#include "gateway/http/openai_request.h"

#include <nlohmann/json.hpp>
#include <string>

#include "common/json_input.h"
#include "common/status.h"
#include "gateway/http/image_source.h"
#include "gateway/http/json_members.h"
#include "gateway/http/openai_content.h"
#include "gateway/http/openai_options.h"

namespace diptych::gateway {

using nlohmann::json;

absl::StatusOr<OpenAiRequest> ReadChatRequest(std::string_view body, SystemPrompt system_prompt) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  OpenAiRequest request;
  Members members(object, "");
  ReadOptions(members, request);
  ReadMessages(members, system_prompt, request);
  ReadChatOptions(members, request);
  if (members.Take("max_completion_tokens") != nullptr) request.names.max_tokens = "max_completion_tokens";
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

absl::StatusOr<OpenAiRequest> ReadCompletionRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  OpenAiRequest request;
  Members members(object, "");
  ReadOptions(members, request);
  request.names.content = "prompt";
  const json* prompt = members.Take("prompt");
  if (prompt != nullptr && prompt->is_array() && prompt->size() == 1) prompt = &(*prompt)[0];
  if (prompt != nullptr && prompt->is_string()) {
    request.question.set_prompt(prompt->get<std::string>());
  } else {
    members.Fail(Invalid("prompt", "takes one string"));
  }
  ReadCompletionOptions(members, request);
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
