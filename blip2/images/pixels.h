// RGB bytes to the tensor that the vision transformer reads.
#pragma once

#include <ATen/core/Tensor.h>

#include "blip2/checkpoint/config.h"
#include "blip2/images/image.h"

namespace diptych::blip2 {

// Resizes to size × size with Pillow's bicubic filter, rescales and normalises.
//   -> [1, 3, size, size] float32 on the CPU, equal to BlipImageProcessor (Pillow backend) bit for bit.
// Requires: size >= 1.
at::Tensor ToPixelValues(const RgbImage& image, const ImageProcessorConfig& config, int size);

// The second half of it: what is resized already, rescaled and normalised. -> [1, 3, height, width]
at::Tensor NormalizePixels(const RgbImage& image, const ImageProcessorConfig& config);

}  // namespace diptych::blip2
