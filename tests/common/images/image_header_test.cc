#include "common/images/image_header.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace diptych {
namespace {

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Number(uint32_t value, int count, bool big_endian) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(value >> 8 * (big_endian ? count - 1 - i : i)));
  return bytes;
}

std::string BigEndian(uint32_t value, int count) {
  return Number(value, count, true);
}
std::string LittleEndian(uint32_t value, int count) {
  return Number(value, count, false);
}

std::string PngOf(uint32_t width, uint32_t height, int depth = 8, int color_type = 2) {
  return "\x89PNG\r\n\x1a\n" + BigEndian(13, 4) + "IHDR" + BigEndian(width, 4) + BigEndian(height, 4) +
         Bytes({depth, color_type, 0, 0, 0}) + BigEndian(0, 4);
}

std::string Segment(int marker, const std::string& payload) {
  return Bytes({0xFF, marker}) + BigEndian(payload.size() + 2, 2) + payload;
}

std::string JpegFrame(int width, int height, int components = 3, int precision = 8) {
  return Bytes({precision}) + BigEndian(height, 2) + BigEndian(width, 2) + Bytes({components}) +
         std::string(3 * components, '\0');
}

std::string JpegHeader(int width, int height, int marker = 0xC0, int components = 3, int precision = 8) {
  return Bytes({0xFF, 0xD8}) + Segment(0xE0, std::string("JFIF\0\1\1\0\0\1\0\1\0\0", 14)) +
         Segment(marker, JpegFrame(width, height, components, precision));
}

std::string Webp(const std::string& chunk, const std::string& payload) {
  return "RIFF" + LittleEndian(payload.size() + 12, 4) + "WEBP" + chunk + LittleEndian(payload.size(), 4) + payload;
}

std::string Vp8(int width, int height) {
  return Webp("VP8 ", Bytes({0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a}) + LittleEndian(width, 2) + LittleEndian(height, 2) +
                          std::string(30, '\0'));
}

std::string Vp8l(int width, int height) {
  return Webp("VP8L", Bytes({0x2F}) + LittleEndian((width - 1) | (height - 1) << 14, 4) + std::string(11, '\0'));
}

std::string Vp8x(int width, int height, int flags) {
  const std::string payload = Bytes({flags, 0, 0, 0}) + LittleEndian(width - 1, 3) + LittleEndian(height - 1, 3);
  std::string bytes = Webp("VP8X", payload);
  return bytes.replace(4, 4, LittleEndian(payload.size() + 12 + 8, 4)) + "VP8 " + LittleEndian(0, 4);
}

std::string Gif(int width, int height) {
  return "GIF89a" + LittleEndian(width, 2) + LittleEndian(height, 2) + Bytes({0, 0, 0}) + "," + LittleEndian(0, 4) +
         LittleEndian(width, 2) + LittleEndian(height, 2) + Bytes({0});
}

void ExpectHeader(std::string_view bytes, ImageFormat format, int64_t width, int64_t height, int channels) {
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->format, format);
  EXPECT_EQ(header->width, width);
  EXPECT_EQ(header->height, height);
  EXPECT_EQ(header->channels, channels);
}

std::string ReadReason(std::string_view bytes) {
  return ReasonOf(ReadImageHeader(bytes).status());
}
std::string CheckReason(std::string_view bytes) {
  return ReasonOf(CheckImage(bytes, {}).status());
}

TEST(ReadImageHeaderTest, ReadsDimensionsOfEachFormat) {
  ExpectHeader(PngOf(640, 480), ImageFormat::kPng, 640, 480, 3);
  ExpectHeader(PngOf(0x7fffffff, 1), ImageFormat::kPng, 0x7fffffff, 1, 3);
  ExpectHeader(PngOf(5, 6, 16, 4), ImageFormat::kPng, 5, 6, 2);
  ExpectHeader(JpegHeader(640, 480), ImageFormat::kJpeg, 640, 480, 3);
  ExpectHeader(JpegHeader(65535, 2, 0xC2, 1), ImageFormat::kJpeg, 65535, 2, 1);
  ExpectHeader(JpegHeader(12, 34, 0xC1, 4), ImageFormat::kJpeg, 12, 34, 4);
  ExpectHeader(Vp8(640, 480), ImageFormat::kWebp, 640, 480, 3);
  ExpectHeader(Vp8l(16384, 3), ImageFormat::kWebp, 16384, 3, 3);
  ExpectHeader(Vp8x(1 << 24, 7, 0x10), ImageFormat::kWebp, 1 << 24, 7, 4);
  ExpectHeader(Vp8x(8, 9, 0x02), ImageFormat::kWebp, 8, 9, 3);  // animated
  ExpectHeader(Gif(640, 480), ImageFormat::kGif, 640, 480, 1);
}

TEST(ReadImageHeaderTest, SkipsJpegSegmentsWhoseContentLooksLikeAFrame) {
  const std::string decoy = Segment(0xC0, JpegFrame(1, 1));
  const std::string jpeg = Bytes({0xFF, 0xD8}) + Segment(0xFE, decoy) + Segment(0xC4, decoy) +
                           Bytes({0xFF, 0xFF, 0xFF, 0xFF}) + Segment(0xC0, JpegFrame(30, 20)).substr(1);
  ExpectHeader(jpeg, ImageFormat::kJpeg, 30, 20, 3);
}

TEST(ReadImageHeaderTest, PassesOverStrayBytesBetweenJpegSegments) {
  for (const std::string& stray : {Bytes({0}), Bytes({0xFF, 0}), std::string("abc"), std::string(5000, '\xFF'),
                                   Bytes({0xFF, 0xD0}), Bytes({0xFF, 0xD9}), Bytes({0xFF, 0xFE, 0, 0})}) {
    const std::string jpeg = Bytes({0xFF, 0xD8}) + Segment(0xE0, "JFIF") + stray + Segment(0xC0, JpegFrame(30, 20));
    ExpectHeader(jpeg, ImageFormat::kJpeg, 30, 20, 3);
  }
}

TEST(ReadImageHeaderTest, KnowsFormatsByMagicBytesOnly) {
  EXPECT_EQ(ReadReason(""), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason(Bytes({0xFF})), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason("GIF88a" + std::string(100, '\1')), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason("BM" + std::string(100, '\1')), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason("II*" + std::string(100, '\0')), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason("RIFF1234WAVEfmt " + std::string(100, '\0')), "IMAGE_FORMAT");
  EXPECT_EQ(ReadReason("<svg xmlns='http://www.w3.org/2000/svg'/>"), "IMAGE_FORMAT");
}

TEST(ReadImageHeaderTest, SaysWhatAFileIsThatIsNoImageHere) {
  const auto said = [](const std::string& bytes) { return std::string(ReadImageHeader(bytes).status().message()); };
  const std::string box = Bytes({0, 0, 0, 24});
  for (const auto& [bytes, what] :
       std::vector<std::pair<std::string, std::string>>{{box + "ftypheic", "but HEIC: convert it"},
                                                        {box + "ftypmif1", "but HEIC: convert it"},
                                                        {box + "ftypavif", "but AVIF: convert it"},
                                                        {Bytes({'I', 'I', '*', 0, 8}), "but TIFF: convert it"},
                                                        {"<!DOCTYPE html><html>", "but an HTML page"},
                                                        {"version https://git-lfs.github.com/spec/v1", "git lfs pull"},
                                                        {"data:image/png;base64,iVBORw0KGgo", "send the bytes"},
                                                        {"/9j/4AAQSkZJRg", "but base64 text: send the bytes"}}) {
    EXPECT_NE(said(bytes).find(what), std::string::npos) << said(bytes);
  }
  EXPECT_EQ(said("hello"), "the image is neither JPEG, PNG, WebP nor GIF");
  EXPECT_EQ(said(box), "the image is neither JPEG, PNG, WebP nor GIF");
}

TEST(ReadImageHeaderTest, RefusesKindsThatAreNotServed) {
  EXPECT_EQ(ReadReason(JpegHeader(8, 8, 0xC3)), "IMAGE_FORMAT");         // lossless
  EXPECT_EQ(ReadReason(JpegHeader(8, 8, 0xC5)), "IMAGE_FORMAT");         // hierarchical
  EXPECT_EQ(ReadReason(JpegHeader(8, 8, 0xC1, 3, 12)), "IMAGE_FORMAT");  // 12 bits a sample
  EXPECT_EQ(ReadReason(JpegHeader(8, 8, 0xC0, 2)), "IMAGE_FORMAT");      // two components
}

TEST(ReadImageHeaderTest, RefusesEveryCutOffHeader) {
  for (const std::string& whole :
       {PngOf(640, 480), JpegHeader(640, 480), Vp8(640, 480), Vp8l(640, 480), Gif(640, 480)}) {
    const size_t magic = whole[0] == 'R' ? 12 : whole[1] == 'P' ? 8 : whole[0] == 'G' ? 6 : 3;
    for (size_t length = 0; length < whole.size(); ++length) {
      const std::string cut = whole.substr(0, length);  // its own allocation, so that a sanitizer sees reads past it
      EXPECT_EQ(ReadReason(cut), length < magic ? "IMAGE_FORMAT" : "IMAGE_CORRUPT") << length;
    }
  }
}

TEST(ReadImageHeaderTest, RefusesContradictions) {
  EXPECT_EQ(ReadReason(PngOf(8, 8, 3)), "IMAGE_CORRUPT");      // no such bit depth
  EXPECT_EQ(ReadReason(PngOf(8, 8, 16, 3)), "IMAGE_CORRUPT");  // a palette of 16 bits
  EXPECT_EQ(ReadReason(PngOf(8, 8, 8, 5)), "IMAGE_CORRUPT");   // no such colour type
  EXPECT_EQ(ReadReason(PngOf(0, 8)), "IMAGE_CORRUPT");
  EXPECT_EQ(ReadReason(JpegHeader(8, 0)), "IMAGE_CORRUPT");
  EXPECT_EQ(ReadReason(Vp8(0, 8)), "IMAGE_CORRUPT");
  EXPECT_EQ(ReadReason(Bytes({0xFF, 0xD8, 0xFF, 0xDA, 0, 8})), "IMAGE_CORRUPT");        // data before a frame
  EXPECT_EQ(ReadReason(Bytes({0xFF, 0xD8, 0xFF, 0x01, 0xFF, 0xC0})), "IMAGE_CORRUPT");  // no marker of JPEG's
  EXPECT_EQ(ReadReason(Gif(0, 8)), "IMAGE_CORRUPT");
  EXPECT_EQ(ReadReason(Webp("ICCP", std::string(30, '\0'))), "IMAGE_CORRUPT");
}

TEST(ReadImageHeaderTest, GivesUpOnAnEndlessRowOfMarkers) {
  std::string jpeg = Bytes({0xFF, 0xD8});
  for (int i = 0; i < 100'000; ++i) jpeg += Bytes({0xFF, 0xD0});
  EXPECT_EQ(ReadReason(jpeg + JpegHeader(8, 8).substr(2)), "IMAGE_CORRUPT");
}

TEST(CheckImageTest, AcceptsWhatIsWithinTheLimits) {
  EXPECT_TRUE(CheckImage(PngOf(8192, 6144), {}).ok());  // a phone of 50 million pixels
  EXPECT_TRUE(CheckImage(PngOf(8000, 8000), {}).ok());
  EXPECT_TRUE(CheckImage(PngOf(16384, 1), {}).ok());
  EXPECT_TRUE(CheckImage(PngOf(1, 1), {}).ok());
}

TEST(CheckImageTest, RefusesImagesBeyondEachLimit) {
  EXPECT_EQ(CheckReason(PngOf(20000, 1)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(CheckReason(PngOf(16385, 8)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(CheckReason(PngOf(16384, 16384)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(CheckReason(PngOf(8001, 8000)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(CheckReason(PngOf(0x7fffffff, 0x7fffffff)), "IMAGE_TOO_LARGE");
}

TEST(CheckImageTest, RefusesTooManyBytesBeforeItReadsThem) {
  std::string bytes = PngOf(8, 8);
  bytes.resize(33'000'000 + (1 << 20));
  EXPECT_EQ(CheckReason(bytes), "IMAGE_TOO_LARGE");
  EXPECT_EQ(CheckReason(std::string((32 << 20) + 1, 'x')), "IMAGE_TOO_LARGE");
}

TEST(CheckImageTest, NamesTheNumberAndTheLimit) {
  const std::string message(CheckImage(PngOf(16385, 100), {}).status().message());
  EXPECT_NE(message.find("16385 x 100"), std::string::npos);
  EXPECT_NE(message.find("16384"), std::string::npos);
}

}  // namespace
}  // namespace diptych
