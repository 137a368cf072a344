#include "blip2/images/resample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <ostream>

#include "tests/testing/crc32.h"

namespace diptych::blip2 {
namespace {

using ::testing::Each;

RgbImage PatternImage(int width, int height) {
  RgbImage image{.width = width, .height = height, .pixels = {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) image.pixels.push_back((7 * x + 13 * y + 29 * c + x * y % 251) & 255);
    }
  }
  return image;
}

// What Pillow 13.0.0 makes of PatternImage(width, height) at size × size.
struct Golden {
  int width;
  int height;
  int size;
  int64_t bicubic_sum;
  uint32_t bicubic_crc;
  uint32_t lanczos_crc;
};

std::ostream& operator<<(std::ostream& out, const Golden& golden) {
  return out << golden.width << "x" << golden.height << " to " << golden.size;
}

class GoldenResizeTest : public ::testing::TestWithParam<Golden> {};

TEST_P(GoldenResizeTest, EqualsPillowBitForBit) {
  const Golden& golden = GetParam();
  const RgbImage source = PatternImage(golden.width, golden.height);
  const RgbImage bicubic = Resize(source, golden.size, golden.size, Filter::kBicubic);
  EXPECT_EQ(bicubic.width, golden.size);
  EXPECT_EQ(bicubic.height, golden.size);
  EXPECT_EQ(std::accumulate(bicubic.pixels.begin(), bicubic.pixels.end(), int64_t{0}), golden.bicubic_sum);
  EXPECT_EQ(Crc32(bicubic.pixels), golden.bicubic_crc);
  EXPECT_EQ(Crc32(Resize(source, golden.size, golden.size, Filter::kLanczos).pixels), golden.lanczos_crc);
}

INSTANTIATE_TEST_SUITE_P(Pillow, GoldenResizeTest,
                         ::testing::Values(Golden{640, 480, 224, 19182756, 0xe35d927d, 0x1a051ba4},
                                           Golden{640, 480, 364, 50652713, 0x95cbf2d0, 0xaa523eb0},
                                           Golden{480, 640, 224, 19186510, 0x6cef6d99, 0xda5480ee},
                                           Golden{480, 640, 364, 50665174, 0xb706f067, 0x8ac6761f},  // height first
                                           Golden{100, 75, 224, 19243347, 0x7b6e8eb7, 0x3bd33f3e},
                                           Golden{100, 75, 364, 50814449, 0x250abf63, 0x42d47652},
                                           Golden{333, 224, 224, 19197995, 0xe164fe82, 0xc81b1b37},  // width only
                                           Golden{333, 224, 364, 50696534, 0x7cce28bd, 0x09bd57a8},
                                           Golden{224, 300, 224, 19204373, 0x90642d8f, 0x76968374},  // height only
                                           Golden{224, 300, 364, 50717057, 0x99f3ceae, 0xa48be365},
                                           Golden{17, 1000, 224, 19221390, 0x6c16d2f5, 0x04cfece8},  // height first
                                           Golden{17, 1000, 364, 50752520, 0x8c39d81f, 0x2b113465},  // height first
                                           Golden{1, 1, 224, 4365312, 0xa6f553d9, 0xa6f553d9},
                                           Golden{1, 1, 364, 11527152, 0x5012beaf, 0x5012beaf},
                                           Golden{224, 224, 224, 19208505, 0x210e8000, 0x210e8000},  // copied
                                           Golden{224, 224, 364, 50728868, 0xe9c1f95f, 0x5aeeafde}));

TEST(ResizeTest, KeepsAFlatColour) {
  const RgbImage flat{.width = 301, .height = 77, .pixels = std::vector<uint8_t>(3 * 301 * 77, 255)};
  EXPECT_THAT(Resize(flat, 40, 200, Filter::kBicubic).pixels, Each(255));
  EXPECT_THAT(Resize(flat, 40, 200, Filter::kLanczos).pixels, Each(255));
}

TEST(ResizeTest, SumsTheLongestRowWithoutOverflow) {
  const RgbImage line{.width = 32768, .height = 1, .pixels = std::vector<uint8_t>(3 * 32768, 255)};
  EXPECT_THAT(Resize(line, 1, 1, Filter::kBicubic).pixels, Each(255));
  const RgbImage column{.width = 1, .height = 32768, .pixels = std::vector<uint8_t>(3 * 32768, 255)};
  EXPECT_THAT(Resize(column, 1, 1, Filter::kLanczos).pixels, Each(255));
}

TEST(ShrinkToMaxSideTest, TruncatesTheShorterSide) {
  const RgbImage shrunk = ShrinkToMaxSide(PatternImage(100, 67), 50);
  EXPECT_EQ(shrunk.width, 50);
  EXPECT_EQ(shrunk.height, 33);
}

TEST(ShrinkToMaxSideTest, LeavesAtLeastOnePixel) {
  const RgbImage shrunk = ShrinkToMaxSide(PatternImage(2, 1000), 10);
  EXPECT_EQ(shrunk.width, 1);
  EXPECT_EQ(shrunk.height, 10);
}

TEST(ShrinkToMaxSideTest, KeepsAnImageThatFits) {
  const RgbImage image = PatternImage(40, 30);
  EXPECT_EQ(ShrinkToMaxSide(image, 40).pixels, image.pixels);
  EXPECT_EQ(ShrinkToMaxSide(image, 0).pixels, image.pixels);
}

TEST(ShrinkToMaxSideTest, UsesLanczos) {
  const RgbImage image = PatternImage(40, 30);
  EXPECT_EQ(ShrinkToMaxSide(image, 20).pixels, Resize(image, 20, 15, Filter::kLanczos).pixels);
}

}  // namespace
}  // namespace diptych::blip2
