#include "blip2/image.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/png.h"
#include "common/status.h"
#include "tests/testing/crc32.h"
#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

const std::filesystem::path kFolder = testing::RepositoryPath("tests/data/images");

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ReadImage(const std::string& name) {
  return ReadFile(kFolder / name);
}

std::string ReasonOfDecoding(std::string_view bytes) {
  return ReasonOf(DecodeImage(bytes, {}).status());
}

TEST(DecodeImageTest, EqualsPillowBitForBit) {
  const nlohmann::json expected = nlohmann::json::parse(ReadFile(kFolder / "expected.json"));
  ASSERT_GE(expected["images"].size(), 60u);
  for (const auto& [name, result] : expected["images"].items()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<RgbImage> image = DecodeImage(ReadImage(name), {});
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, result["width"]);
    EXPECT_EQ(image->height, result["height"]);
    EXPECT_EQ(Crc32(image->pixels), result["crc32"]);
  }
}

TEST(DecodeImageTest, RefusesAnimatedWebp) {
  EXPECT_EQ(ReasonOfDecoding(ReadImage("animated.webp")), "IMAGE_FORMAT");
}

TEST(DecodeImageTest, RefusesWhatIsNoImage) {
  EXPECT_EQ(ReasonOfDecoding(""), "IMAGE_FORMAT");
  EXPECT_EQ(ReasonOfDecoding("GIF89a\x02\x00\x02\x00"), "IMAGE_FORMAT");
}

TEST(DecodeImageTest, ChecksLimitsBeforeItDecodes) {
  std::string bytes = ReadImage("png_rgb_8.png");
  bytes.resize(40);  // no pixel data: only the header can have been read
  EXPECT_EQ(ReasonOf(DecodeImage(bytes, {.max_side = 36}).status()), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonOf(DecodeImage(bytes, {.max_pixels = 37 * 23 - 1}).status()), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonOf(DecodeImage(bytes, {}).status()), "IMAGE_CORRUPT");
}

// A file that is cut off may lack only what stands behind the pixels: then the image must be whole.
TEST(DecodeImageTest, NeverGivesPartOfACutOffImage) {
  const nlohmann::json expected = nlohmann::json::parse(ReadFile(kFolder / "expected.json"));
  for (const auto& [name, result] : expected["images"].items()) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadImage(name);
    for (size_t length = 0; length < bytes.size(); length += 1 + length / 16) {
      const absl::StatusOr<RgbImage> image = DecodeImage(std::string_view(bytes).substr(0, length), {});
      if (image.ok()) {
        EXPECT_EQ(Crc32(image->pixels), result["crc32"]) << "cut off after " << length;
      } else {
        EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument) << "cut off after " << length;
      }
    }
  }
}

TEST(DecodeImageTest, RefusesAnImageCutInHalf) {
  for (const char* name :
       {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg", "png_rgb_8.png", "png_grey_16_interlaced.png",
        "webp_lossy.webp", "webp_lossless.webp", "webp_lossy_alpha.webp"}) {
    const std::string bytes = ReadImage(name);
    EXPECT_EQ(ReasonOfDecoding(std::string_view(bytes).substr(0, bytes.size() / 2)), "IMAGE_CORRUPT") << name;
    EXPECT_EQ(ReasonOfDecoding(std::string_view(bytes).substr(0, bytes.size() - 4)), "IMAGE_CORRUPT") << name;
  }
}

TEST(DecodeImageTest, SurvivesEveryDamagedByte) {
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string bytes = ReadFile(entry.path());
    for (size_t at = 0; at < bytes.size(); at += 1 + at / 32) {
      for (const uint8_t flip : {0xFF, 0x01, 0x80}) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        const absl::StatusOr<RgbImage> image = DecodeImage(damaged, {.max_pixels = 1 << 20});
        if (!image.ok()) continue;
        EXPECT_EQ(image->pixels.size(), 3 * static_cast<size_t>(image->width) * image->height);
      }
    }
  }
}

TEST(DecodeImageTest, RefusesAPngWithAWrongChecksum) {
  std::string bytes = ReadImage("png_rgb_8.png");
  bytes[bytes.size() - 13] ^= 1;  // last byte of the checksum of IDAT
  EXPECT_EQ(ReasonOfDecoding(bytes), "IMAGE_CORRUPT");
}

TEST(DecodeImageTest, KeepsLibraryTextOutOfItsErrors) {
  for (const char* name : {"jpeg_420.jpg", "png_rgb_8.png", "webp_lossy.webp"}) {
    const std::string bytes = ReadImage(name);
    const absl::Status status = DecodeImage(std::string_view(bytes).substr(0, bytes.size() - 20), {}).status();
    EXPECT_TRUE(status.message().find("damaged or cut off") != std::string::npos ||
                status.message().find("ends before its announced length") != std::string::npos)
        << status;
  }
}

TEST(EncodePngTest, WhatIsWrittenIsRead) {
  RgbImage image{.width = 37, .height = 21, .pixels = {}};
  for (int i = 0; i < 3 * 37 * 21; ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * i * 7 >> 3));  // hard to compress
  const auto file = EncodePng(image);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto read = DecodeImage(*file, {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->width, 37);
  EXPECT_EQ(read->height, 21);
  EXPECT_EQ(read->pixels, image.pixels);
}

}  // namespace
}  // namespace diptych::blip2
