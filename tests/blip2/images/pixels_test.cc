#include "blip2/images/pixels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/testing/crc32.h"

namespace diptych::blip2 {
namespace {

// 16 × 16, so that nothing is resampled; every byte value once in each channel.
RgbImage AllBytes() {
  RgbImage image{.width = 16, .height = 16, .pixels = {}};
  for (int value = 0; value < 256; ++value) image.pixels.insert(image.pixels.end(), 3, static_cast<uint8_t>(value));
  return image;
}

uint32_t Crc32OfBytes(const at::Tensor& values) {
  const auto* const bytes = static_cast<const uint8_t*>(values.const_data_ptr());
  return Crc32(std::vector<uint8_t>(bytes, bytes + values.nbytes()));
}

// Expected values: transformers 5.23 BlipImageProcessorPil with its default mean and deviation.
TEST(ToPixelValuesTest, EqualsTheReferenceBitForBit) {
  const at::Tensor values = ToPixelValues(AllBytes(), {}, 16);
  ASSERT_EQ(values.sizes(), (at::IntArrayRef{1, 3, 16, 16}));
  ASSERT_EQ(values.scalar_type(), at::kFloat);
  const at::Tensor by_byte = values.reshape({3, 256}).contiguous();
  const auto value = [&](int channel, int byte) { return by_byte.const_data_ptr<float>()[channel * 256 + byte]; };
  EXPECT_EQ(value(0, 0), -1.7922625541687012f);
  EXPECT_EQ(value(0, 1), -1.777664065361023f);
  EXPECT_EQ(value(0, 127), 0.061737604439258575f);
  EXPECT_EQ(value(0, 128), 0.07633614540100098f);
  EXPECT_EQ(value(0, 255), 1.9303361177444458f);
  EXPECT_EQ(value(1, 0), -1.7520971298217773f);
  EXPECT_EQ(value(1, 255), 2.0748836994171143f);
  EXPECT_EQ(value(2, 0), -1.480219841003418f);
  EXPECT_EQ(value(2, 255), 2.1458969116210938f);
}

TEST(ToPixelValuesTest, EqualsTheReferenceForEveryByteOfEveryChannel) {
  EXPECT_EQ(Crc32OfBytes(ToPixelValues(AllBytes(), {}, 16)), 0x88a84fb3);
}

TEST(ToPixelValuesTest, EqualsTheReferenceAfterResampling) {
  RgbImage image{.width = 83, .height = 61, .pixels = {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) image.pixels.push_back((7 * x + 13 * y + 29 * c + x * y % 251) & 255);
    }
  }
  EXPECT_EQ(Crc32OfBytes(ToPixelValues(image, {}, 28)), 0xf23e0889);
}

TEST(ToPixelValuesTest, TakesScaleMeanAndDeviationFromTheConfig) {
  const ImageProcessorConfig config{.rescale_factor = 0.5, .image_mean = {1, 2, 3}, .image_std = {2, 4, 8}};
  const at::Tensor values = ToPixelValues(AllBytes(), config, 16).reshape({3, 256});
  EXPECT_EQ(values[0][10].item<float>(), 2.0f);
  EXPECT_EQ(values[1][10].item<float>(), 0.75f);
  EXPECT_EQ(values[2][10].item<float>(), 0.25f);
}

TEST(ToPixelValuesTest, ResizesToTheAskedSize) {
  EXPECT_EQ(ToPixelValues(AllBytes(), {}, 28).sizes(), (at::IntArrayRef{1, 3, 28, 28}));
}

TEST(ToPixelValuesTest, PutsRedFirst) {
  const RgbImage red{.width = 2, .height = 2, .pixels = {255, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0}};
  const at::Tensor values =
      ToPixelValues(red, {.rescale_factor = 1, .image_mean = {0, 0, 0}, .image_std = {1, 1, 1}}, 2);
  EXPECT_EQ(values[0][0].min().item<float>(), 255.0f);
  EXPECT_EQ(values[0].slice(0, 1, 3).max().item<float>(), 0.0f);
}

}  // namespace
}  // namespace diptych::blip2
