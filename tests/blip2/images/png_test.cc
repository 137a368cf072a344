// What is taken of damaged PNGs, and what is refused. Pixels of the taken ones: DecodeImageTest.EqualsPillowBitForBit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/images/image.h"
#include "common/status.h"
#include "tests/testing/crc32.h"
#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

std::string PngFile(const std::string& name) {
  std::ifstream file(testing::RepositoryPath("tests/data/images/" + name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ReasonOfPng(std::string_view bytes) {
  return ReasonOf(DecodeImage(bytes, {}).status());
}

std::string FourBytes(uint32_t number) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(number >> shift);
  return bytes;
}

std::string SoundChunk(const std::string& name, const std::string& payload) {
  const std::string checked = name + payload;
  return FourBytes(static_cast<uint32_t>(payload.size())) + checked +
         FourBytes(Crc32(std::vector<uint8_t>(checked.begin(), checked.end())));
}

// The file with a chunk before its data.
std::string WithBeforeData(std::string file, const std::string& chunk) {
  return file.insert(file.find("IDAT") - 4, chunk);
}

// The file with a bit changed, `offset` bytes behind the beginning of the chunk's name.
std::string WithBitChanged(std::string file, std::string_view name, size_t offset) {
  file[file.find(name) + offset] ^= 1;
  return file;
}

TEST(DecodePngTest, RefusesADamagedChunkBeforeTheData) {
  const std::string palette = PngFile("png_palette_8.png"), text = PngFile("png_text.png");
  EXPECT_EQ(ReasonOfPng(WithBitChanged(palette, "IHDR", 4 + 13)), "IMAGE_CORRUPT");
  EXPECT_EQ(ReasonOfPng(WithBitChanged(palette, "PLTE", 4)), "IMAGE_CORRUPT");
  ASSERT_LT(text.find("tEXt"), text.find("IDAT"));
  EXPECT_EQ(ReasonOfPng(WithBitChanged(text, "tEXt", 4)), "IMAGE_CORRUPT");
}

TEST(DecodePngTest, RefusesWhatCannotStandBeforeTheData) {
  const std::string file = PngFile("png_rgb_8.png");
  EXPECT_EQ(ReasonOfPng(WithBeforeData(file, SoundChunk("IEND", ""))), "IMAGE_CORRUPT");
  EXPECT_EQ(ReasonOfPng(WithBeforeData(file, file.substr(8, 25))), "IMAGE_CORRUPT") << "a second header";
  EXPECT_EQ(ReasonOfPng(WithBeforeData(file, SoundChunk("a-b!", ""))), "IMAGE_CORRUPT") << "no name";
  EXPECT_TRUE(DecodeImage(WithBeforeData(file, SoundChunk("a_9Z", "what nobody knows")), {}).ok());
}

TEST(DecodePngTest, RefusesAPaletteImageWithoutPalette) {
  std::string file = PngFile("png_palette_8.png");
  const size_t begin = file.find("PLTE") - 4;
  file.erase(begin, file.find("IDAT") - 4 - begin);
  EXPECT_EQ(ReasonOfPng(file), "IMAGE_CORRUPT");
}

TEST(DecodePngTest, TheDataEndsWithTheFirstOtherChunk) {
  std::string file = PngFile("png_data_in_pieces.png");
  const size_t last = file.rfind("IDAT") - 4;
  ASSERT_TRUE(DecodeImage(file, {}).ok());
  EXPECT_EQ(ReasonOfPng(file.substr(0, last) + SoundChunk("tEXt", "a") + file.substr(last)), "IMAGE_CORRUPT");
}

TEST(DecodePngTest, TakesWhatLacksOnlyWhatStandsBehindTheRows) {
  for (const std::string name : {"png_rgb_8", "png_rgb_8_interlaced", "png_palette_4", "png_grey_16_interlaced"}) {
    SCOPED_TRACE(name);
    const std::string file = PngFile(name + ".png");
    const absl::StatusOr<RgbImage> whole = DecodeImage(file, {});
    ASSERT_TRUE(whole.ok()) << whole.status();
    for (const size_t missing : {1, 11, 12, 13, 16, 19}) {  // bytes of IEND, of the checksums of IDAT and its stream
      const auto image = DecodeImage(std::string_view(file).substr(0, file.size() - missing), {});
      ASSERT_TRUE(image.ok()) << missing << image.status();
      EXPECT_EQ(image->pixels, whole->pixels) << missing;
    }
    for (const size_t missing : {24, 40, 100}) {
      EXPECT_EQ(ReasonOfPng(std::string_view(file).substr(0, file.size() - missing)), "IMAGE_CORRUPT") << missing;
    }
  }
}

TEST(DecodePngTest, EmptyPiecesOfDataCostNothing) {
  std::string pieces;
  for (int i = 0; i < 100'000; ++i) pieces += SoundChunk("IDAT", "");
  const std::string file = PngFile("png_rgb_8.png");
  const auto image = DecodeImage(WithBeforeData(file, pieces), {});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->pixels, DecodeImage(file, {})->pixels);
}

// A zlib stream of the bytes as they are, without its end.
std::string Stored(const std::string& bytes) {
  std::string stream = "\x78\x01";
  for (size_t at = 0; at < bytes.size(); at += 0x8000) {
    const auto size = static_cast<uint16_t>(std::min<size_t>(0x8000, bytes.size() - at));
    for (const int byte : {0, size & 0xff, size >> 8, ~size & 0xff, (~size >> 8) & 0xff})
      stream += static_cast<char>(byte);
    stream.append(bytes, at, size);
  }
  return stream;
}

TEST(DecodePngTest, DoesNotInflateWhatLiesBehindTheLastRow) {
  constexpr int kHeight = 23, kRowBytes = 1 + 3 * 37;
  const std::string file = PngFile("png_rgb_8.png");
  const std::string rows(kHeight * kRowBytes, '\0'), behind(8 << 20, '\0');
  int asked = 0;  // before each row and each piece of the file
  const auto image = DecodeImage(file.substr(0, file.find("IDAT") - 4) + SoundChunk("IDAT", Stored(rows + behind)), {},
                                 [&asked] { return ++asked, absl::OkStatus(); });
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->pixels, std::vector<uint8_t>(3 * 37 * kHeight));
  EXPECT_LT(asked, 100);  // libpng takes pieces of 8 KiB: all of them would be 1,024
}

}  // namespace
}  // namespace diptych::blip2
