#include "cli/images/image.h"

#include <png.h>

#include <array>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"

namespace diptych::cli {

absl::StatusOr<Image> ReadPng(std::string_view bytes) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) {
    return absl::InvalidArgumentError("the image is not a PNG file");
  }
  if (image.width > kMaxImageSide || image.height > kMaxImageSide) {
    png_image_free(&image);
    return absl::InvalidArgumentError(absl::StrCat("the image is larger than ", kMaxImageSide, " pixels"));
  }
  image.format = PNG_FORMAT_RGB;
  Image pixels{.width = static_cast<int>(image.width), .height = static_cast<int>(image.height)};
  pixels.rgb.resize(PNG_IMAGE_SIZE(image));
  const png_color white = {255, 255, 255};
  if (png_image_finish_read(&image, &white, pixels.rgb.data(), 0, nullptr) == 0) {
    return absl::InvalidArgumentError("the PNG file is broken");
  }
  return pixels;
}

absl::StatusOr<std::string> WritePng(const Image& pixels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = pixels.width;
  image.height = pixels.height;
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.rgb.data(), 0, nullptr) == 0) {
    return absl::InternalError("the PNG file cannot be made");
  }
  bytes.resize(size);
  return bytes;
}

Image DrawnImage(uint64_t seed, int side) {
  std::mt19937_64 random(seed);
  const auto uniform = [&random](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const double radius = side * uniform(0.12, 0.2), x0 = side * uniform(0.25, 0.75), y0 = side * uniform(0.25, 0.75);
  std::array<uint8_t, 3> colour{}, ground{};
  for (uint8_t& channel : colour) channel = static_cast<uint8_t>(uniform(0, 170));
  for (uint8_t& channel : ground) channel = static_cast<uint8_t>(uniform(215, 256));
  Image pixels{.width = side, .height = side, .rgb = std::vector<uint8_t>(size_t{3} * side * side)};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const auto& pixel = std::hypot(x - x0, y - y0) < radius ? colour : ground;
      std::copy(pixel.begin(), pixel.end(), pixels.At(x, y));
    }
  }
  return pixels;
}

}  // namespace diptych::cli
