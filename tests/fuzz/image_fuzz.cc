// Any bytes as an image: header, decoding, whole and scaled, resizing. What comes out must be whole and within the
// limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "blip2/images/image.h"
#include "blip2/images/resample.h"
#include "common/images/image_header.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::image {
DIPTYCH_FUZZ_TARGET(image) {
  using namespace diptych;  // NOLINT
  using fuzz::Require;
  const std::string_view bytes = fuzz::TextOf(data, size);
  const ImageLimits limits{.max_bytes = 1 << 20, .max_pixels = 1 << 16, .max_side = 1024};  // keeps the fuzzer fast
  const absl::StatusOr<ImageHeader> header = CheckImage(bytes, limits);
  const absl::StatusOr<blip2::RgbImage> image = blip2::DecodeImage(bytes, limits);
  const absl::StatusOr<blip2::RgbImage> scaled = blip2::DecodeImage(bytes, limits, {}, /*least_side=*/28);
  if (scaled.ok()) Require(scaled->pixels.size() == 3 * static_cast<size_t>(scaled->width) * scaled->height);
  if (!image.ok()) {
    Require(image.status().code() == absl::StatusCode::kInvalidArgument);
    return 0;
  }
  Require(header.ok());
  const bool upright = image->width == header->width && image->height == header->height;
  const bool turned = image->width == header->height && image->height == header->width;
  Require(upright || turned);
  Require(std::min(image->width, image->height) >= limits.min_side);
  Require(image->pixels.size() == 3 * static_cast<size_t>(image->width) * image->height);
  const blip2::RgbImage resized = blip2::Resize(*image, 28, 28, blip2::Filter::kBicubic);
  Require(resized.pixels.size() == 3 * 28 * 28);
  return 0;
}

}  // namespace diptych::fuzz::image
