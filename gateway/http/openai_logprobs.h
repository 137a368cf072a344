// Log-probabilities in OpenAI's two forms.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

using LogprobSteps = google::protobuf::RepeatedPtrField<v1::StepLogprobs>;

// {"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}, each with at most `top` alternatives.
nlohmann::ordered_json ChatLogprobs(const LogprobSteps& steps, int top);

// Offsets of one completion's tokens in its text, in characters. Thread-compatible.
class TextOffsets {
 public:
  // `stripped`: white space before the first word is no part of the text, so tokens of nothing else begin where that
  // does.
  explicit TextOffsets(bool stripped) : begun_(!stripped) {}
  // Of each token, in their order.
  int64_t Of(std::string_view token);

 private:
  int64_t characters_ = 0;  // that have begun so far
  bool begun_;              // the text
};

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}: the prompt's tokens, if any, then the answer's. The
// first of the prompt has no log-probability. A token that is no whole text is written "bytes:\\xe2\\x82".
nlohmann::ordered_json CompletionLogprobs(const LogprobSteps& prompt, const LogprobSteps& steps, int top,
                                          TextOffsets& offsets);

// The text that the tokens stand for.
std::string JoinedText(const LogprobSteps& steps);

}  // namespace diptych::gateway
