// What happens to a step's scores before a token is chosen, and what is told about the choice.
#pragma once

#include <cstdint>
#include <span>

#include "blip2/generation.h"

namespace diptych::blip2 {

// transformers' RepetitionPenaltyLogitsProcessor from `raw` [V] into `scores` [V]: each id of the context once,
// however often it stands there. Ids outside the vocabulary, such as the image's placeholder, are passed over.
void Penalise(std::span<const float> raw, std::span<const int64_t> context, double penalty, std::span<float> scores);

// Sets the scores [V] of `ids` to -inf.
void Forbid(std::span<const int64_t> ids, std::span<float> scores);

// Sets logprob and the `count` most likely tokens under softmax(logits [V]); nothing if `count` is 0.
void AddLogprobs(std::span<const float> logits, int64_t count, ChosenToken& token);

}  // namespace diptych::blip2
