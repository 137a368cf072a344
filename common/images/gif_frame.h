// Reads a GIF file's description of its first frame.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

struct GifFrame {
  // Sides of the image, in pixels: the screen, grown where the frame is larger.
  int64_t canvas_width = 0;
  int64_t canvas_height = 0;
  // The frame's place on it.
  int64_t left = 0;
  int64_t top = 0;
  int64_t width = 0;
  int64_t height = 0;
  std::string_view palette;  // of the frame or else of the file: red, green, blue; empty: indices are shades of grey
  int transparent = -1;      // palette index that shows nothing; -1: none
  bool interlaced = false;
  std::string_view data;  // from the byte with the code size to the end of the file
};

// Walks over extensions to the first frame; time is linear in the file. Requires: `bytes` begins with "GIF87a" or
// "GIF89a". INVALID_ARGUMENT with IMAGE_CORRUPT if there is no frame or it has no pixels.
absl::StatusOr<GifFrame> ReadGifFrame(std::string_view bytes);

}  // namespace diptych
