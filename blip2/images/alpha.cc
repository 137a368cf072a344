#include "blip2/images/alpha.h"

#include <cstddef>
#include <utility>

namespace diptych::blip2 {
namespace {

// color · alpha + 255 · (255 − alpha), over 255 and rounded to the nearest.
uint8_t BlendWithWhite(uint32_t color, uint32_t alpha) {
  const uint32_t sum = color * alpha + 255 * (255 - alpha) + 128;
  return static_cast<uint8_t>(((sum >> 8) + sum) >> 8);
}

}  // namespace

std::vector<uint8_t> OverWhite(std::vector<uint8_t> rgba) {
  const size_t count = rgba.size() / 4;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t alpha = rgba[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) rgba[3 * i + c] = BlendWithWhite(rgba[4 * i + c], alpha);
  }
  rgba.resize(3 * count);
  rgba.shrink_to_fit();
  return rgba;
}

}  // namespace diptych::blip2
