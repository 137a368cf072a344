#include "blip2/images/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "blip2/images/png.h"
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
  ASSERT_GE(expected["images"].size(), 140u);
  for (const auto& [name, result] : expected["images"].items()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<RgbImage> image = DecodeImage(ReadImage(name), {});
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, result["width"]);
    EXPECT_EQ(image->height, result["height"]);
    EXPECT_EQ(Crc32(image->pixels), result["crc32"]);
  }
}

TEST(DecodeImageTest, TurningSwapsTheSides) {
  const absl::StatusOr<RgbImage> image = DecodeImage(ReadImage("jpeg_exif_6.jpg"), {});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width, 23);
  EXPECT_EQ(image->height, 37);
}

TEST(DecodeImageTest, EachOrientationHasItsPixels) {
  const absl::StatusOr<RgbImage> upright = DecodeImage(ReadImage("png_exif_1.png"), {});
  ASSERT_TRUE(upright.ok());
  for (const int orientation : {3, 6, 8}) {
    const auto turned = DecodeImage(ReadImage("png_exif_" + std::to_string(orientation) + ".png"), {});
    ASSERT_TRUE(turned.ok());
    // The stored image's first pixel lies at the right end of the turned one, at its bottom, or both.
    const int x = orientation == 8 ? 0 : turned->width - 1;
    const int y = orientation == 6 ? 0 : turned->height - 1;
    EXPECT_EQ(turned->pixels[3 * (y * turned->width + x)], upright->pixels[0]) << orientation;
  }
}

TEST(DecodeImageTest, RefusesWhatIsNoImage) {
  EXPECT_EQ(ReasonOfDecoding(""), "IMAGE_FORMAT");
  EXPECT_EQ(ReasonOfDecoding("BM" + std::string(100, '\1')), "IMAGE_FORMAT");
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
    // What is cut off first turns these or makes them transparent.
    if (name.find("after_data") != std::string::npos || name.find("raw_profile_zipped") != std::string::npos) continue;
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
        "webp_lossy.webp", "webp_lossless.webp", "webp_lossy_alpha.webp", "animated.webp", "gif.gif"}) {
    const std::string bytes = ReadImage(name);
    EXPECT_EQ(ReasonOfDecoding(std::string_view(bytes).substr(0, bytes.size() / 2)), "IMAGE_CORRUPT") << name;
    const bool ends_without_pixels = name[0] == 'g' || name[0] == 'p';
    if (ends_without_pixels) continue;
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
        for (const int least_side : {0, 3}) {
          const absl::StatusOr<RgbImage> image = DecodeImage(damaged, {.max_pixels = 1 << 20}, {}, least_side);
          if (!image.ok()) continue;
          EXPECT_EQ(image->pixels.size(), 3 * static_cast<size_t>(image->width) * image->height);
        }
      }
    }
  }
}

TEST(DecodeImageTest, KeepsLibraryTextOutOfItsErrors) {
  for (const char* name : {"jpeg_420.jpg", "png_rgb_8.png", "webp_lossy.webp"}) {
    const std::string bytes = ReadImage(name);
    const absl::Status status = DecodeImage(std::string_view(bytes).substr(0, bytes.size() - 40), {}).status();
    EXPECT_TRUE(status.message().find("damaged or cut off") != std::string::npos ||
                status.message().find("ends before its announced length") != std::string::npos)
        << status;
  }
}

// Pillow passes over damage that libjpeg passes over, but an end that came too early is an error.
TEST(DecodeImageTest, AJpegIsCutOffOnlyIfItsLastRowIsMissing) {
  for (const char* name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_restart.jpg", "jpeg_damaged_scan.jpg"}) {
    const std::string bytes = ReadImage(name);
    EXPECT_EQ(ReasonOfDecoding(std::string_view(bytes).substr(0, bytes.size() - 10)), "IMAGE_CORRUPT") << name;
    EXPECT_TRUE(DecodeImage(bytes + "behind the end", {}).ok()) << name;
  }
}

TEST(DecodeImageTest, AsksAgainAndAgainWhetherToGoOn) {
  for (const char* name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg", "png_rgb_8.png",
                           "png_rgb_8_interlaced.png", "webp_lossy.webp", "gif.gif", "gif_interlaced.gif"}) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadImage(name);
    int asked = 0;
    ASSERT_TRUE(DecodeImage(bytes, {}, [&asked] { return ++asked, absl::OkStatus(); }).ok());
    EXPECT_GE(asked, name[0] == 'w' ? 2 : 23);  // libwebp takes its data piece by piece, the others are asked for rows
    for (int last = 1; last <= asked; last += 1 + asked / 8) {
      int left = last;
      const auto image =
          DecodeImage(bytes, {}, [&left] { return --left == 0 ? absl::CancelledError("stop") : absl::OkStatus(); });
      EXPECT_EQ(image.status(), absl::CancelledError("stop")) << last;
    }
  }
}

// The file with other sides; its data then ends early in each scan, which costs as much as an honest scan.
std::string WithSides(std::string jpeg, int width, int height) {
  const size_t at = jpeg.find("\xff\xc2") + 5;
  for (const int side : {height, width}) {
    jpeg[at + (side == width ? 2 : 0)] = static_cast<char>(side >> 8);
    jpeg[at + (side == width ? 3 : 1)] = static_cast<char>(side);
  }
  return jpeg;
}

// The last scan of a progressive file as often as asked for.
std::string WithScans(const std::string& jpeg, int scans) {
  const size_t last_scan = jpeg.rfind("\xff\xda"), end = jpeg.size() - 2;
  std::string longer = jpeg.substr(0, end);
  for (int i = 0; i < scans; ++i) longer += jpeg.substr(last_scan, end - last_scan);
  return longer + jpeg.substr(end);
}

TEST(DecodeImageTest, BoundsTheScansOfAJpegByItsPixels) {
  const std::string jpeg = ReadImage("jpeg_progressive.jpg");
  EXPECT_TRUE(DecodeImage(WithScans(jpeg, 400), {}).ok());
  EXPECT_EQ(ReasonOfDecoding(WithScans(jpeg, 600)), "IMAGE_TOO_LARGE");
  const std::string large = WithSides(jpeg, 4000, 3999);
  EXPECT_TRUE(DecodeImage(large, {}).ok());
  EXPECT_EQ(ReasonOfDecoding(WithScans(large, 400)), "IMAGE_TOO_LARGE");
}

TEST(ScaledDecodeTest, AJpegIsHalvedWhileItsShorterSideStaysLongEnough) {
  const std::string jpeg = ReadImage("jpeg_420.jpg");  // 37 x 23
  for (const auto& [least, width, height] :
       {std::array{0, 37, 23}, {12, 37, 23}, {11, 19, 12}, {6, 19, 12}, {5, 10, 6}, {2, 5, 3}, {1, 5, 3}}) {
    const absl::StatusOr<RgbImage> image = DecodeImage(jpeg, {}, {}, least);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, width) << least;
    EXPECT_EQ(image->height, height) << least;
    EXPECT_EQ(image->pixels.size(), 3u * width * height);
  }
}

// How far each channel of `scaled` is from the mean of its square of `side` pixels, on average over whole squares.
double OffTheMeans(const RgbImage& scaled, const RgbImage& whole, int side) {
  double off = 0;
  int count = 0;
  for (int y = 0; y < whole.height / side; ++y) {
    for (int at = 0; at < 3 * (whole.width / side); ++at, ++count) {
      int sum = 0;
      for (int pixel = 0; pixel < side * side; ++pixel) {
        const int row = y * side + pixel / side, column = at / 3 * side + pixel % side;
        sum += whole.pixels[3 * (row * whole.width + column) + at % 3];
      }
      off += std::abs(scaled.pixels[3 * y * scaled.width + at] - static_cast<double>(sum) / (side * side));
    }
  }
  return off / count;
}

TEST(ScaledDecodeTest, ItsPixelsAreTheMeansOfTheWholeImages) {
  // Of colors as they are stored: fewer of them are spread before the whole image is shrunk, and not before it is
  // scaled.
  for (const char* name : {"jpeg_444.jpg", "jpeg_progressive_444.jpg", "jpeg_grey.jpg"}) {
    SCOPED_TRACE(name);
    const absl::StatusOr<RgbImage> whole = DecodeImage(ReadImage(name), {});
    ASSERT_TRUE(whole.ok());
    for (const auto& [least, side] : {std::pair{11, 2}, {5, 4}, {2, 8}}) {
      const absl::StatusOr<RgbImage> scaled = DecodeImage(ReadImage(name), {}, {}, least);
      ASSERT_TRUE(scaled.ok());
      EXPECT_LT(OffTheMeans(*scaled, *whole, side), 1) << "of 255, by " << side;
    }
  }
}

TEST(ScaledDecodeTest, FourInksBecomeThreeColors) {
  const absl::StatusOr<RgbImage> scaled = DecodeImage(ReadImage("jpeg_cmyk.jpg"), {}, {}, 5);
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  EXPECT_EQ(scaled->width, 10);
  EXPECT_EQ(scaled->pixels.size(), 3u * 10 * 6);
}

TEST(ScaledDecodeTest, ItIsTurnedAndOtherFormatsStayWhole) {
  EXPECT_EQ(DecodeImage(ReadImage("jpeg_exif_6.jpg"), {}, {}, 5)->height, 10);
  for (const char* name : {"png_rgb_8.png", "webp_lossy.webp", "gif.gif"}) {
    EXPECT_EQ(DecodeImage(ReadImage(name), {}, {}, 1)->pixels, DecodeImage(ReadImage(name), {})->pixels) << name;
  }
}

TEST(ScaledDecodeTest, RefusesWhatIsRefusedWhole) {
  const std::string cut_off = ReadImage("jpeg_420.jpg").substr(0, ReadImage("jpeg_420.jpg").size() / 2);
  EXPECT_EQ(ReasonOf(DecodeImage(cut_off, {}, {}, 2).status()), "IMAGE_CORRUPT");
  const std::string many = WithScans(ReadImage("jpeg_progressive.jpg"), 600);
  EXPECT_EQ(ReasonOf(DecodeImage(many, {}, {}, 2).status()), "IMAGE_TOO_LARGE");
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
