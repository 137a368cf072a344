// An encoded file in, RGB pixels out, exactly as transformers' convert_to_rgb gives them with Pillow.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/image_header.h"

namespace diptych::blip2 {

// Row-major, three bytes a pixel, red first, no padding.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;  // 3 * width * height
};

// Checks `limits` on the header, then decodes. EXIF orientation is not applied, transparency shows white,
// palettes are looked up, grey is replicated, 16-bit grey is clipped to 8 bits, CMYK follows Pillow.
// INVALID_ARGUMENT with reason IMAGE_FORMAT, IMAGE_TOO_LARGE or IMAGE_CORRUPT (a truncated or damaged
// file is an error, never a partly grey image).
absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits);

}  // namespace diptych::blip2
