// What happens to a step's scores before a token is chosen, and what is told about the choice.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/generation.h"

namespace diptych::blip2 {

// What `options` do to one step's scores [V], in transformers' order: logit bias (SequenceBiasLogitsProcessor with
// sequences of one token), repetition penalty, presence and frequency penalty (OpenAI's, which transformers lacks), and
// until min_new_tokens none of `ending_token_ids` (MinNewTokensLengthLogitsProcessor). The last `generated` of the
// context's ids were generated. Requires: the options are valid.
void ProcessScores(const GenerationOptions& options, std::span<const int64_t> ending_token_ids,
                   std::span<const int64_t> context, int64_t generated, std::span<float> scores);

// Whether ProcessScores does anything when so many tokens are generated.
bool ChangesScores(const GenerationOptions& options, int64_t generated);

// transformers' RepetitionPenaltyLogitsProcessor from `raw` [V] into `scores` [V]: each id of the context once,
// however often it stands there. Ids outside the vocabulary, such as the image's placeholder, are passed over.
void Penalise(std::span<const float> raw, std::span<const int64_t> context, double penalty, std::span<float> scores);

// Sets the scores [V] of `ids` to -inf.
void Forbid(std::span<const int64_t> ids, std::span<float> scores);

// Sets logprob and the `count` most likely tokens under softmax(logits [V]); nothing if `count` is 0.
void AddLogprobs(std::span<const float> logits, int64_t count, ChosenToken& token);

// How likely `ids` are where they stand: logits [T, V] of the places before them -> one for each, with the `count` most
// likely tokens of its place (of equals any). INTERNAL if a logit is NaN or infinite.
// Requires: T ids, each in [0, V).
absl::StatusOr<std::vector<ChosenToken>> ScoreTokens(const at::Tensor& logits, std::span<const int64_t> ids,
                                                     int64_t count);

}  // namespace diptych::blip2
