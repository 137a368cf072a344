// Turns images as their files say.
#pragma once

#include <string_view>

#include "blip2/images/image.h"

namespace diptych::blip2 {

// How the file is to be turned, 1 to 8: what its EXIF block says, else its XMP packet, as Pillow's exif_transpose finds
// them in JPEG (APP1 before the first scan), PNG (eXIf, or text that holds them) and WebP (their chunks). 1 for a GIF,
// for a file that says nothing, and where the metadata is damaged. Decodes no pixel; time is linear in the file.
int OrientationOf(std::string_view bytes, ImageFormat format);

// Whether an image that is turned so has its width where its height was.
inline bool SwapsSides(int orientation) {
  return orientation >= 5;
}

// Mirrors and turns by quarters. Requires: `orientation` is 1 to 8.
RgbImage TurnUpright(RgbImage image, int orientation);

}  // namespace diptych::blip2
