// Questions that are in no cache, so that measurements include all computation.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// Counts up from a start that is random for each run of this program. Thread-safe.
uint64_t FreshNumber();

// Gives an image file a key of its own without changing what the model sees: a pre-shrink to a side that no
// image has (6145 to 8192 pixels). Leaves a max_side that is set already.
void KeepFromCaches(v1::ImageOptions& options);

// A text that begins with a fresh number of five digits, images of their own, and exactly `new_tokens` tokens to
// generate. `side`: of the images, in pixels.
absl::StatusOr<v1::Question> FreshQuestion(int images, int side, int new_tokens);

// Tokens and images of the answer that came from a cache.
int CacheHitsOf(const v1::Answer& answer);

}  // namespace diptych::cli
