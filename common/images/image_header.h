// Reads size and format of an encoded image before any pixel is decoded.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych {

enum class ImageFormat { kJpeg, kPng, kWebp, kGif };

struct ImageHeader {
  ImageFormat format;
  int64_t width;   // pixels, as stored (orientation not applied)
  int64_t height;  // pixels
  int channels;    // as stored, alpha included: 1 grey or palette … 4
};

// Bounds on an image from outside.
struct ImageLimits {
  int64_t max_bytes = 32ll << 20;
  int64_t max_pixels = 64'000'000;  // phones make 50 million
  int64_t min_side = 1;             // pixels
  int64_t max_side = 16384;         // pixels; panoramas of phones have 16382
};

// For limits that were chosen: INVALID_ARGUMENT naming --max_image_bytes or --max_image_pixels if one is out of range.
absl::Status CheckLimits(const ImageLimits& limits);

// Reads format and dimensions from the file's header; allocates nothing and never reads outside `bytes`. Errors, all
// INVALID_ARGUMENT with a reason: IMAGE_FORMAT (not JPEG, PNG, WebP or GIF by its magic bytes, empty, or a kind of them
// that is not served: lossless, hierarchical or 12-bit JPEG), IMAGE_CORRUPT (header cut off or contradictory).
absl::StatusOr<ImageHeader> ReadImageHeader(std::string_view bytes);

// Checks `limits` on size and header: IMAGE_TOO_LARGE over bytes, pixels or max_side, IMAGE_CORRUPT
// under min_side, and the errors of ReadImageHeader.
absl::StatusOr<ImageHeader> CheckImage(std::string_view bytes, const ImageLimits& limits);

}  // namespace diptych
