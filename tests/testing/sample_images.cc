#include "tests/testing/sample_images.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/testing/image_headers.h"
#include "tests/testing/paths.h"

namespace diptych::testing {

std::string ReadRepositoryFile(const std::string& path) {
  std::ifstream file(RepositoryPath(path), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file || bytes.empty()) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::abort();
  }
  return bytes;
}

std::string GoodPng() {
  return ReadRepositoryFile("models/demo/samples/red_circle_blue_star.png");
}

std::string GoodJpeg() {
  return ReadRepositoryFile("tests/data/images/jpeg_420.jpg");
}

std::string CutOffJpeg() {
  const std::string whole = GoodJpeg();
  return whole.substr(0, whole.size() / 2 + 200);
}

std::vector<RefusedImage> RefusedImages() {
  const std::string jpeg = GoodJpeg();
  std::string too_many_bytes = GoodPng();
  too_many_bytes.resize(33'000'000 + 1'000'000, '\0');
  return {
      {"nothing", "", "IMAGE_FORMAT"},
      {"bitmap under another name", Bmp(), "IMAGE_FORMAT"},
      {"text", "this is no image", "IMAGE_FORMAT"},
      {"JPEG cut off in its header", jpeg.substr(0, 20), "IMAGE_CORRUPT"},
      {"1 x 0", PngHeader(1, 0), "IMAGE_CORRUPT"},
      {"20000 x 1", PngHeader(20000, 1), "IMAGE_TOO_LARGE"},
      {"16384 x 16384", PngHeader(16384, 16384), "IMAGE_TOO_LARGE"},
      {"34 MB", too_many_bytes, "IMAGE_TOO_LARGE"},
  };
}

}  // namespace diptych::testing
