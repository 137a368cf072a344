#include "vision_service/visual_token_messages.h"

#include <gtest/gtest.h>

#include "common/hash.h"
#include "common/visual_tokens.h"

namespace diptych {
namespace {

EncodedImage Image(size_t bytes) {
  EncodedImage image;
  for (size_t i = 0; i < bytes; ++i) image.bytes.push_back(static_cast<char>(i * 7));
  image.dtype = v1::NUMBER_TYPE_BFLOAT16;
  image.tokens = 2;
  image.width = static_cast<int>(bytes / 4);
  image.image_key = "key";
  image.image_size = 224;
  image.timings = {.image_decode = std::chrono::milliseconds(1),
                   .image_resize = std::chrono::milliseconds(2),
                   .queue = std::chrono::milliseconds(3),
                   .vit = std::chrono::milliseconds(4)};
  return image;
}

TEST(VisualTokenMessagesTest, HeaderSaysWhatFollows) {
  const auto message = MessageAt(Image(8), "model", 0);
  ASSERT_TRUE(message.has_header());
  EXPECT_EQ(message.header().model_fingerprint(), "model");
  EXPECT_EQ(message.header().cut(), v1::CUT_VIT);
  EXPECT_EQ(message.header().dtype(), v1::NUMBER_TYPE_BFLOAT16);
  EXPECT_EQ(message.header().tokens(), 2);
  EXPECT_EQ(message.header().width(), 2);
  EXPECT_EQ(message.header().image_key(), "key");
  EXPECT_EQ(message.header().chunk_count(), 1);
  EXPECT_EQ(message.header().pixel_height(), 224);
}

TEST(VisualTokenMessagesTest, ChunksAreNumberedBoundedAndAddUp) {
  const EncodedImage image = Image(2 * kMaxChunkBytes + 4);
  ASSERT_EQ(MessageCount(image), 5);
  std::string joined;
  for (int i = 1; i <= 3; ++i) {
    const auto message = MessageAt(image, "model", i);
    ASSERT_TRUE(message.has_chunk());
    EXPECT_EQ(message.chunk().index(), i - 1);
    EXPECT_LE(message.chunk().data().size(), kMaxChunkBytes);
    EXPECT_EQ(message.chunk().crc32c(), Crc32c(message.chunk().data()));
    joined += message.chunk().data();
  }
  EXPECT_EQ(joined, image.bytes);
}

TEST(VisualTokenMessagesTest, AFullLastChunkNeedsNoOther) {
  EXPECT_EQ(MessageCount(Image(2 * kMaxChunkBytes)), 4);
}

TEST(VisualTokenMessagesTest, TrailerHasTheTotalAndTheTimes) {
  const auto message = MessageAt(Image(8), "model", 2);
  ASSERT_TRUE(message.has_trailer());
  EXPECT_EQ(message.trailer().total_bytes(), 8);
  EXPECT_EQ(message.trailer().image_decode().nanos(), 1'000'000);
  EXPECT_EQ(message.trailer().image_resize().nanos(), 2'000'000);
  EXPECT_EQ(message.trailer().vision_queue().nanos(), 3'000'000);
  EXPECT_EQ(message.trailer().vit().nanos(), 4'000'000);
}

}  // namespace
}  // namespace diptych
