// The probabilities that one step of sampling draws from.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "blip2/decoding/generation.h"

namespace diptych::blip2 {

constexpr float kNever = -std::numeric_limits<float>::infinity();  // score of a token that may not follow

struct TokenProbability {
  int64_t id = 0;
  double probability = 0;
};

// Temperature, top-k, top-p and min-p of `options` over `scores` [V], as transformers' TemperatureLogitsWarper,
// TopKLogitsWarper, TopPLogitsWarper and MinPLogitsWarper do it: equals of the k-th score stay, and top-p keeps
// the fewest tokens that hold p together (of equals the lowest ids; transformers leaves that open). Ids in rising
// order, probabilities sum to 1; empty if every score is -inf.
// Requires: temperature > 0; no score is NaN or +inf.
std::vector<TokenProbability> SamplingDistribution(std::span<const float> scores, const GenerationOptions& options);

}  // namespace diptych::blip2
