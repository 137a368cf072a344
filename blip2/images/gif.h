// Pixels of a GIF's first frame. Call DecodeImage, which has checked the header.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "blip2/images/image.h"

namespace diptych::blip2 {

// See DecodeImage. Requires: `header` is what CheckImage gave for `bytes`.
absl::StatusOr<RgbImage> DecodeGif(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check);

}  // namespace diptych::blip2
