// Bodies of POST /v1/responses, read into questions.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/http/conversation.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

struct ResponsesRequest {
  OpenAiRequest question;       // one choice
  nlohmann::ordered_json echo;  // members of the reply that repeat what was asked for
};

// Text and images in, text out. `input` is a string or a list of messages; `instructions` is a system message before
// them. Sampling has the names of chat completions, and max_output_tokens bounds the answer. INVALID_ARGUMENT naming
// the field; what cannot be honoured is refused. `store` is taken and answered with false: nothing is kept.
absl::StatusOr<ResponsesRequest> ReadResponsesRequest(std::string_view body, SystemPrompt system_prompt);

}  // namespace diptych::gateway
