// Pillow's fixed-point resampling, bit for bit.
#pragma once

#include "blip2/images/image.h"

namespace diptych::blip2 {

enum class Filter { kBicubic, kLanczos };

// Squashes or stretches to width × height. Mirrors Pillow 13's Image.resize(…, reducing_gap=None) on RGB;
// Pillow 12 and before differ by a rounding step where 13 resamples the height first.
// Requires: both sides of both sizes in 1…32768.
RgbImage Resize(const RgbImage& image, int width, int height, Filter filter);

// Shrinks so that the longer side is at most max_side, keeping proportions (the shorter side is
// truncated as int(side * ratio), at least 1). Returns the image unchanged if it fits or max_side is 0.
RgbImage ShrinkToMaxSide(RgbImage image, int max_side);

}  // namespace diptych::blip2
