// The model's parts tried on inputs of our own, which are known to be good: before the tier serves, and by the engine
// when requests fail in a row.
#pragma once

#include "absl/status/status.h"
#include "language_service/served_model.h"

namespace diptych::language {

// An image of zeros through Q-Former and projection. INTERNAL if that fails or gives numbers that are not finite.
absl::Status TryProjection(const ServedLanguageModel& model);

// One token through the decoder, in a KV cache of its own. Likewise.
absl::Status TryDecoder(const ServedLanguageModel& model);

}  // namespace diptych::language
