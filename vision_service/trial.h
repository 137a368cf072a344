// The model tried on an input of our own, which is known to be good: before the tier serves, and by the engine when
// requests fail in a row.
#pragma once

#include "absl/status/status.h"
#include "vision_service/served_model.h"

namespace diptych::vision {

// Encodes a grey image of `image_size` pixels a side. INTERNAL if that fails or gives numbers that are not finite; as
// blip2::StatusOfDeviceError if the card fails.
absl::Status TryEncode(const ServedVisionModel::Encode& encode, int image_size);

}  // namespace diptych::vision
