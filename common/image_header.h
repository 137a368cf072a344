// What an encoded picture says about itself before any pixel is decoded.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

enum class ImageFormat { kJpeg, kPng, kWebp };

struct ImageHeader {
  ImageFormat format;
  int64_t width;   // pixels, as stored (orientation not applied)
  int64_t height;  // pixels
};

// Bounds on a picture from outside. The defaults are the promises of docs/reliability.md.
struct ImageLimits {
  int64_t max_bytes = 32ll << 20;
  int64_t max_pixels = 16'000'000;
  int64_t min_side = 2;     // pixels
  int64_t max_side = 8192;  // pixels
};

// Reads format and dimensions from the first bytes of the file; allocates nothing and never reads
// outside `bytes`. Errors, all INVALID_ARGUMENT with a reason: IMAGE_FORMAT (not JPEG, PNG or WebP by
// its magic bytes, or empty), IMAGE_CORRUPT (header cut off or contradictory).
absl::StatusOr<ImageHeader> ReadImageHeader(std::string_view bytes);

// ReadImageHeader, then `limits`: IMAGE_TOO_LARGE over bytes, pixels or max_side, IMAGE_CORRUPT
// under min_side.
absl::StatusOr<ImageHeader> CheckImage(std::string_view bytes, const ImageLimits& limits);

}  // namespace diptych
