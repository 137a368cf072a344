#include "common/images/gif_frame.h"

#include <gtest/gtest.h>

#include <string>

#include "common/status.h"

namespace diptych {
namespace {

using namespace std::string_literals;  // NOLINT

const std::string kScreen = "GIF89a\x0a\0\x14\0\x80\0\0"s + "\1\2\3\4\5\6";  // 10 x 20, two colors
const std::string kFrame = ",\2\0\3\0\4\0\5\0\0\x02\x01\x44"s;               // 4 x 5 at (2, 3)

GifFrame Read(const std::string& bytes) {
  const absl::StatusOr<GifFrame> frame = ReadGifFrame(bytes);
  EXPECT_TRUE(frame.ok()) << frame.status();
  return frame.value_or(GifFrame{});
}

TEST(ReadGifFrameTest, ReadsScreenPlaceAndPalette) {
  const std::string bytes = kScreen + kFrame;
  const GifFrame frame = Read(bytes);
  EXPECT_EQ(frame.canvas_width, 10);
  EXPECT_EQ(frame.canvas_height, 20);
  EXPECT_EQ(frame.left, 2);
  EXPECT_EQ(frame.top, 3);
  EXPECT_EQ(frame.width, 4);
  EXPECT_EQ(frame.height, 5);
  EXPECT_EQ(frame.palette, "\1\2\3\4\5\6");
  EXPECT_EQ(frame.transparent, -1);
  EXPECT_FALSE(frame.interlaced);
  EXPECT_EQ(frame.data, "\x02\x01\x44");
}

TEST(ReadGifFrameTest, FrameThatIsLargerThanTheScreenEnlargesTheImage) {
  const std::string bytes = "GIF87a\1\0\1\0\0\0\0"s + kFrame;
  const GifFrame frame = Read(bytes);
  EXPECT_EQ(frame.canvas_width, 6);
  EXPECT_EQ(frame.canvas_height, 8);
  EXPECT_TRUE(frame.palette.empty());
}

TEST(ReadGifFrameTest, ReadsTransparencyAndPassesOverOtherExtensions) {
  const std::string comment = "!\xfe\3,,,\2;;\0"s;
  const std::string control = "!\xf9\4\1\0\0\7\0"s;
  EXPECT_EQ(Read(kScreen + comment + control + "junk" + comment + kFrame).transparent, 7);
}

TEST(ReadGifFrameTest, RefusesWhatHoldsNoFrame) {
  EXPECT_EQ(ReasonOf(ReadGifFrame(kScreen + ";").status()), "IMAGE_CORRUPT");
  EXPECT_EQ(ReasonOf(ReadGifFrame(kScreen + ",\0\0\0\0\0\0\1\0\0"s).status()), "IMAGE_CORRUPT");
  const std::string whole = kScreen + "!\xf9\4\1\0\0\7\0"s + kFrame.substr(0, 10);
  for (size_t length = 6; length < whole.size(); ++length) {
    const std::string cut = whole.substr(0, length);  // its own allocation, so that a sanitizer sees reads past it
    EXPECT_EQ(ReasonOf(ReadGifFrame(cut).status()), "IMAGE_CORRUPT") << length;
  }
}

}  // namespace
}  // namespace diptych
