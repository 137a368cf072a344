#include "blip2/images/pixels.h"

#include <ATen/ATen.h>

#include <array>

#include "blip2/images/resample.h"

namespace diptych::blip2 {
namespace {

using Table = std::array<float, 256>;

// The result of transformers' rescale (in double, rounded to float) and normalize (in float) for each byte.
Table MakeTable(double rescale_factor, double mean, double std) {
  Table table;
  for (int value = 0; value < 256; ++value) {
    const float rescaled = static_cast<float>(value * rescale_factor);
    table[value] = (rescaled - static_cast<float>(mean)) / static_cast<float>(std);
  }
  return table;
}

}  // namespace

at::Tensor ToPixelValues(const RgbImage& image, const ImageProcessorConfig& config, int size) {
  return NormalizePixels(Resize(image, size, size, Filter::kBicubic), config);
}

at::Tensor NormalizePixels(const RgbImage& image, const ImageProcessorConfig& config) {
  at::Tensor values = at::empty({1, 3, image.height, image.width}, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  const size_t pixel_count = image.pixels.size() / 3;
  for (int channel = 0; channel < 3; ++channel) {
    const Table table = MakeTable(config.rescale_factor, config.image_mean[channel], config.image_std[channel]);
    const uint8_t* from = image.pixels.data() + channel;
    for (size_t i = 0; i < pixel_count; ++i) *to++ = table[from[3 * i]];
  }
  return values;
}

}  // namespace diptych::blip2
