// Encoded images, good and hostile ones.
#pragma once

#include <string>
#include <vector>

namespace diptych::testing {

// The bytes of a file below the repository's root; ends the test program if it cannot be read.
std::string ReadRepositoryFile(const std::string& path);

// A red circle beside a blue star, as a PNG; a small JPEG.
std::string GoodPng();
std::string GoodJpeg();
// Its header is whole, half of its pixels are missing.
std::string CutOffJpeg();

struct RefusedImage {
  std::string name;
  std::string bytes;
  std::string reason;  // the one that the caller is given
};

// Every kind of image that is refused by its header, before a pixel is decoded.
std::vector<RefusedImage> RefusedImages();

}  // namespace diptych::testing
