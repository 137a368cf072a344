// vLLM's /tokenize and /detokenize.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/http/conversation.h"
#include "gateway/http/field_names.h"

namespace diptych::gateway {

struct TokenizeBody {
  std::string model;  // that is asked for; not checked
  v1::TokenizeRequest request;
  FieldNames names;  // for faults that are found later
};

struct DetokenizeBody {
  std::string model;
  v1::DetokenizeRequest request;
  FieldNames names;
};

// {"prompt"} or {"messages"}, the latter as in a chat; an image counts as its query tokens, whatever its bytes are.
// INVALID_ARGUMENT naming the member.
absl::StatusOr<TokenizeBody> ReadTokenizeRequest(std::string_view body, SystemPrompt system_prompt);

// {"tokens"}. As above.
absl::StatusOr<DetokenizeBody> ReadDetokenizeRequest(std::string_view body);

// {"count", "max_model_len", "tokens", "token_strs": null}.
nlohmann::ordered_json TokenizeReply(const v1::TokenizeResponse& response);
// {"prompt"}.
nlohmann::ordered_json DetokenizeReply(const v1::DetokenizeResponse& response);

}  // namespace diptych::gateway
