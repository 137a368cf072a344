// An encoded file in, upright RGB pixels out, exactly as transformers gives them with Pillow.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/images/image_header.h"

namespace diptych::blip2 {

// Row-major, three bytes a pixel, red first, no padding.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;  // 3 * width * height
};

// Asked now and then while an image is decoded, at least once in a few rows of pixels. An error ends the decoding.
using DecodeCheck = std::function<absl::Status()>;

// The result of the check; OK if there is none.
inline absl::Status Ask(const DecodeCheck& check) {
  return check ? check() : absl::OkStatus();
}

// Checks `limits` on the header, then decodes and turns as the file's EXIF or XMP says, so that the sides may be
// swapped against the header's. Of an animation the first frame is shown. Transparency shows white, palettes are looked
// up, grey is replicated, 16-bit grey is clipped to 8 bits, CMYK follows Pillow. Memory is at most 12 bytes a pixel.
// INVALID_ARGUMENT with reason IMAGE_FORMAT, IMAGE_TOO_LARGE (over the limits, or a JPEG of too many scans) or
// IMAGE_CORRUPT (a file that is cut off, or damaged so that Pillow refuses it); the error of `check`.
// With a `least_side` of pixels, a JPEG comes in a half, a quarter or an eighth of its sides while its shorter one
// stays at least that long: faster, and no longer exactly Pillow's pixels. 0: never.
absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits, const DecodeCheck& check = {},
                                     int least_side = 0);

}  // namespace diptych::blip2
