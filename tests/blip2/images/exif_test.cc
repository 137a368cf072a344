#include "blip2/images/exif.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

using namespace std::string_literals;  // NOLINT

// Little-endian, one entry: orientation 6.
const std::string kTurned = "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"s;

TEST(ExifOrientationTest, EqualsPillowForSoundUnusualAndDamagedBlocks) {
  const auto expected = nlohmann::json::parse(std::ifstream(testing::RepositoryPath("tests/data/exif.json")));
  ASSERT_GE(expected["blocks"].size(), 200u);
  for (const auto& entry : expected["blocks"]) {
    const std::optional<int> found = ExifOrientation(absl::HexStringToBytes(entry["block"].get<std::string>()));
    EXPECT_EQ(found ? nlohmann::json(*found) : nlohmann::json(), entry["orientation"]) << entry["block"];
  }
}

TEST(ExifOrientationTest, EmptyBlockHasNone) {
  EXPECT_EQ(ExifOrientation(""), std::nullopt);
  EXPECT_EQ(ExifOrientation("Exif\0\0"s), std::nullopt);
}

TEST(ExifOrientationTest, WhatIsNoExifIsUpright) {
  EXPECT_EQ(ExifOrientation("Exif"), kUpright);
  EXPECT_EQ(ExifOrientation(std::string(100, '\xff')), kUpright);
}

TEST(ExifOrientationTest, NeverReadsPastABlockThatIsCutOff) {
  for (size_t length = 0; length < kTurned.size(); ++length) {
    const std::string cut = kTurned.substr(0, length);  // its own allocation, so that a sanitizer sees reads past it
    const std::optional<int> found = ExifOrientation(cut);
    EXPECT_EQ(found.value_or(kUpright), length < 22 ? kUpright : 6) << length;
  }
}

TEST(ExifOrientationTest, OffsetsAndCountsBeyondTheBlockAreHarmless) {
  for (const size_t at : {4, 7, 8, 9, 14, 17}) {
    for (const char value : {'\x7f', '\xff'}) {
      std::string damaged = kTurned;
      damaged[at] = value;
      const int found = ExifOrientation(damaged).value_or(kUpright);
      EXPECT_TRUE(found == kUpright || found == 6) << at;
    }
  }
}

TEST(XmpOrientationTest, ReadsAttributeAndElement) {
  EXPECT_EQ(XmpOrientation(R"(<r tiff:Orientation="6"/>)"), 6);
  EXPECT_EQ(XmpOrientation("<tiff:Orientation>8</tiff:Orientation>"), 8);
  EXPECT_EQ(XmpOrientation("tiff:Orientation tiff:Orientation=\"3\""), 3);
}

TEST(XmpOrientationTest, WhatIsNoOrientationIsNone) {
  EXPECT_EQ(XmpOrientation(""), std::nullopt);
  EXPECT_EQ(XmpOrientation("tiff:Orientation"), std::nullopt);
  EXPECT_EQ(XmpOrientation("tiff:Orientation=\""), std::nullopt);
  EXPECT_EQ(XmpOrientation("tiff:Orientation='6'"), std::nullopt);
  EXPECT_EQ(XmpOrientation("tiff:Orientation=\"9\""), kUpright);
}

}  // namespace
}  // namespace diptych::blip2
