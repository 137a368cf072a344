// PNG pixels, both ways.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "blip2/images/image.h"

namespace diptych::blip2 {

// See DecodeImage, which is to be called instead. Requires: `header` is what CheckImage gave for `bytes`.
absl::StatusOr<RgbImage> DecodePng(std::string_view bytes, const ImageHeader& header, const DecodeCheck& check);

// A PNG file of the image, 8 bits a channel. INTERNAL if libpng fails, for example without memory.
absl::StatusOr<std::string> EncodePng(const RgbImage& image);

}  // namespace diptych::blip2
