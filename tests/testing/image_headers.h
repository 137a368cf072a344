// Encoded images for tests that never decode them: headers and what bad files look like.
#pragma once

#include <cstdint>
#include <string>

namespace diptych::testing {

// Signature and IHDR chunk of a PNG; enough for its dimensions to be read.
inline std::string PngHeader(uint32_t width, uint32_t height) {
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16);
  for (const uint32_t side : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) png.push_back(static_cast<char>(side >> shift));
  }
  return png + std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

// The beginning of a bitmap, a format that is not served.
inline std::string Bmp() {
  return "BM" + std::string(100, '\x01');
}

}  // namespace diptych::testing
