// OpenAI's request bodies, read into questions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/http/conversation.h"
#include "gateway/http/field_names.h"

namespace diptych::gateway {

inline constexpr int kMaxChoices = 8;
inline constexpr int kMaxPrompts = 64;

// A text, or the ids that stand for one.
struct CompletionPrompt {
  std::string text;
  std::vector<int32_t> ids;
};

struct OpenAiRequest {
  v1::Question question;                  // request_id and model as given; not checked against any limit
  FieldNames names;                       // for faults that are found later
  std::vector<CompletionPrompt> prompts;  // completions only, 1 to kMaxPrompts; the question has none of them
  bool logprobs = false;                  // to be shown
  int top_logprobs = 0;                   // alternatives to show of each token
  int choices = 1;                        // n, 1 to kMaxChoices, of each prompt
  int draws = 1;                          // answers to each prompt; the `choices` best are shown
  bool stream = false;
  bool include_usage = false;  // at the end of the stream
  bool echo = false;           // completions only

  // Answers that are asked for.
  int Questions() const { return draws * std::max(static_cast<int>(prompts.size()), 1); }
};

// POST /v1/chat/completions. Messages become turns and images (conversation.h).
// Besides OpenAI's parameters: top_k, min_p, min_tokens, repetition_penalty, num_beams, length_penalty, ignore_eos,
// stop_token_ids, best_of, return_relevance, `image_options` {image_size, max_side, token_merging}, and the names that
// other servers have for these. Defaults are this server's: greedy, as BLIP-2 is used. max_tokens is cut to what the
// window leaves. INVALID_ARGUMENT naming the field; what would change the answer and cannot be honoured is refused,
// never ignored (known_fields.h).
absl::StatusOr<OpenAiRequest> ReadChatRequest(std::string_view body,
                                              SystemPrompt system_prompt = SystemPrompt::kPrepend);

// POST /v1/completions: prompts as strings or token ids, text alone, not wrapped in any template.
absl::StatusOr<OpenAiRequest> ReadCompletionRequest(std::string_view body);

// POST /v1/diptych/analyze: {"image": base64 or a data: URL, "image_options", "cls_attention", "qformer_attention",
// "prepared_image"}. As above.
absl::StatusOr<v1::AnalyzeImageRequest> ReadAnalyzeRequest(std::string_view body);

}  // namespace diptych::gateway
