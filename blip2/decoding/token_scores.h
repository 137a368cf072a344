// Changes a step's scores before a token is chosen, and reports on the choice.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/generation.h"

namespace diptych::blip2 {

// Changes to the score of one token, in the members' order.
struct ScoreEdit {
  int64_t id = 0;
  double bias = 0;       // is added
  double penalty = 1;    // divides a positive score, multiplies a negative one
  double presence = 0;   // is subtracted
  double frequency = 0;  // is subtracted, too
  bool forbidden = false;
};

// What `options` do to one step's scores [V], in transformers' order: logit bias (SequenceBiasLogitsProcessor with
// sequences of one token), repetition penalty (once for each id of the context, RepetitionPenaltyLogitsProcessor),
// presence and frequency penalty (OpenAI's, which transformers lacks), and until min_new_tokens none of
// `ending_token_ids` (MinNewTokensLengthLogitsProcessor). The last `generated` of the context's ids were generated.
// -> at most one for each id, in any order. Ids outside the vocabulary, such as the image's placeholder, are passed
// over. Requires: the options are valid.
std::vector<ScoreEdit> ScoreEdits(const GenerationOptions& options, std::span<const int64_t> ending_token_ids,
                                  std::span<const int64_t> context, int64_t generated, int64_t vocab_size);

// Whether ScoreEdits depend on which tokens were generated, and not only on how many.
bool DependsOnTokens(const GenerationOptions& options);

// The score after the edit: rounded to float32 after each of its three sums and products, -inf if it is forbidden.
float Edited(float score, const ScoreEdit& edit);

// Sets logprob and the `count` most likely tokens under softmax(logits [V]); nothing if `count` is 0.
void AddLogprobs(std::span<const float> logits, int64_t count, ChosenToken& token);

// How likely `ids` are where they stand: logits [T, V] of the places before them -> one for each, with the `count` most
// likely tokens of its place (of equals any). INTERNAL if a logit is NaN or infinite.
// Requires: T ids, each in [0, V).
absl::StatusOr<std::vector<ChosenToken>> ScoreTokens(const at::Tensor& logits, std::span<const int64_t> ids,
                                                     int64_t count);

}  // namespace diptych::blip2
