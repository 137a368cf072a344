#include "cli/picture.h"

#include <png.h>

#include <array>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"

namespace diptych::cli {

absl::StatusOr<Picture> ReadPng(std::string_view bytes) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) {
    return absl::InvalidArgumentError("the picture is no PNG file");
  }
  if (image.width > kMaxPictureSide || image.height > kMaxPictureSide) {
    png_image_free(&image);
    return absl::InvalidArgumentError(absl::StrCat("the picture is larger than ", kMaxPictureSide, " pixels"));
  }
  image.format = PNG_FORMAT_RGB;
  Picture picture{.width = static_cast<int>(image.width), .height = static_cast<int>(image.height)};
  picture.rgb.resize(PNG_IMAGE_SIZE(image));
  const png_color white = {255, 255, 255};
  if (png_image_finish_read(&image, &white, picture.rgb.data(), 0, nullptr) == 0) {
    return absl::InvalidArgumentError("the PNG file is broken");
  }
  return picture;
}

absl::StatusOr<std::string> WritePng(const Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.rgb.data(), 0, nullptr) == 0) {
    return absl::InternalError("the PNG file cannot be made");
  }
  bytes.resize(size);
  return bytes;
}

Picture DrawnPicture(uint64_t seed, int side) {
  std::mt19937_64 random(seed);
  const auto uniform = [&random](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const double radius = side * uniform(0.12, 0.2), x0 = side * uniform(0.25, 0.75), y0 = side * uniform(0.25, 0.75);
  std::array<uint8_t, 3> colour{}, ground{};
  for (uint8_t& channel : colour) channel = static_cast<uint8_t>(uniform(0, 170));
  for (uint8_t& channel : ground) channel = static_cast<uint8_t>(uniform(215, 256));
  Picture picture{.width = side, .height = side, .rgb = std::vector<uint8_t>(size_t{3} * side * side)};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const auto& pixel = std::hypot(x - x0, y - y0) < radius ? colour : ground;
      std::copy(pixel.begin(), pixel.end(), picture.At(x, y));
    }
  }
  return picture;
}

}  // namespace diptych::cli
