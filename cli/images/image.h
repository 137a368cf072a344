// Images as pixels: PNG files in memory, and images that are drawn here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::cli {

inline constexpr unsigned kMaxImageSide = 8192;  // pixels; no server takes more

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb = {};  // height x width x 3, row by row

  uint8_t* At(int x, int y) { return &rgb[3 * (static_cast<size_t>(y) * width + x)]; }
  const uint8_t* At(int x, int y) const { return &rgb[3 * (static_cast<size_t>(y) * width + x)]; }
};

// INVALID_ARGUMENT if it is no PNG file or a side is longer than kMaxImageSide.
absl::StatusOr<Image> ReadPng(std::string_view bytes);

absl::StatusOr<std::string> WritePng(const Image& image);

// A disc on a light background; colour, place and background follow from the seed, so that another seed is another
// image for every cache.
Image DrawnImage(uint64_t seed, int side);

}  // namespace diptych::cli
