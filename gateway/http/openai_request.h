// OpenAI's request bodies, read into questions.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/http/conversation.h"
#include "gateway/http/field_names.h"

namespace diptych::gateway {

inline constexpr int kMaxChoices = 8;

struct OpenAiRequest {
  v1::Question question;  // request_id and model as given; not checked against any limit
  FieldNames names;       // for faults that are found later
  int top_logprobs = 0;   // alternatives to show of each token
  int choices = 1;        // n, 1 to kMaxChoices
  bool stream = false;
  bool include_usage = false;  // stream_options.include_usage
  bool echo = false;           // completions only
};

// POST /v1/chat/completions. Messages become turns and images (conversation.h).
// Beside OpenAI's parameters: top_k, min_tokens, repetition_penalty, num_beams, length_penalty, return_relevance, and
// `image_options` {image_size, max_side, token_merging}. Defaults are this server's: greedy, as BLIP-2 is used.
// INVALID_ARGUMENT naming the field; parameters that cannot be honoured are refused, never ignored.
absl::StatusOr<OpenAiRequest> ReadChatRequest(std::string_view body,
                                              SystemPrompt system_prompt = SystemPrompt::kPrepend);

// POST /v1/completions: one prompt string, text alone, not wrapped in any template.
absl::StatusOr<OpenAiRequest> ReadCompletionRequest(std::string_view body);

// POST /v1/diptych/analyze: {"image": base64 or a data: URL, "image_options", "cls_attention", "qformer_attention",
// "prepared_image"}. As above.
absl::StatusOr<v1::AnalyzeImageRequest> ReadAnalyzeRequest(std::string_view body);

}  // namespace diptych::gateway
