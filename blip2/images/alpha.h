// Transparency, as transformers treats it.
#pragma once

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

// Four bytes a pixel, alpha last, to three: the image laid over white. Bit-equal to transformers 5's
// convert_to_rgb, which uses Pillow's alpha_composite.
std::vector<uint8_t> OverWhite(std::vector<uint8_t> rgba);

}  // namespace diptych::blip2
