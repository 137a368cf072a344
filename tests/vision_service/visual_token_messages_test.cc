#include "vision_service/visual_token_messages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/hash.h"
#include "common/visual_tokens.h"
#include "common/wire.h"

namespace diptych::vision {
namespace {

// `tokens` visual tokens of 128 KiB each.
EncodedPicture LargePicture(int tokens) {
  EncodedPicture picture;
  picture.image = *EncodedImage::Make(
      at::arange(tokens * 65536, at::kInt).remainder(1000).to(at::kBFloat16).view({tokens, 65536}), "key", 224);
  picture.timings = {.image_decode = std::chrono::milliseconds(1),
                     .image_resize = std::chrono::milliseconds(2),
                     .queue = std::chrono::milliseconds(3),
                     .vit = std::chrono::milliseconds(4)};
  return picture;
}

v1::EncodeImageResponse Parsed(const EncodedPicture& picture, int index) {
  v1::EncodeImageResponse message;
  EXPECT_TRUE(ParseMessage(MessageAt(picture, "model", index), message).ok());
  return message;
}

TEST(VisualTokenMessagesTest, HeaderSaysWhatFollows) {
  const auto message = Parsed(LargePicture(2), 0);
  ASSERT_TRUE(message.has_header());
  EXPECT_EQ(message.header().model_fingerprint(), "model");
  EXPECT_EQ(message.header().cut(), v1::CUT_VIT);
  EXPECT_EQ(message.header().dtype(), v1::NUMBER_TYPE_BFLOAT16);
  EXPECT_EQ(message.header().tokens(), 2);
  EXPECT_EQ(message.header().width(), 65536);
  EXPECT_EQ(message.header().image_key(), "key");
  EXPECT_EQ(message.header().chunk_count(), 1);
  EXPECT_EQ(message.header().pixel_height(), 224);
  EXPECT_EQ(message.header().pixel_width(), 224);
}

TEST(VisualTokenMessagesTest, ChunksAreNumberedBoundedAndAddUp) {
  const EncodedPicture picture = LargePicture(5);
  ASSERT_EQ(MessageCount(picture), 5);
  std::string joined;
  for (int i = 1; i <= 3; ++i) {
    const auto message = Parsed(picture, i);
    ASSERT_TRUE(message.has_chunk());
    EXPECT_EQ(message.chunk().index(), i - 1);
    EXPECT_LE(message.chunk().data().size(), kMaxChunkBytes);
    EXPECT_EQ(message.chunk().crc32c(), Crc32c(message.chunk().data()));
    joined += message.chunk().data();
  }
  EXPECT_EQ(joined, picture.image->bytes());
}

TEST(VisualTokenMessagesTest, AFullLastChunkNeedsNoOther) {
  EXPECT_EQ(MessageCount(LargePicture(4)), 4);
}

TEST(VisualTokenMessagesTest, AChunkIsSentFromThePicturesOwnBufferWhichItKeepsAlive) {
  EncodedPicture picture = LargePicture(1);
  const std::weak_ptr<const EncodedImage> watched = picture.image;
  const char* buffer = picture.image->bytes().data();
  {
    const grpc::ByteBuffer message = MessageAt(picture, "model", 1);
    picture.image = nullptr;
    EXPECT_FALSE(watched.expired());
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(message.Dump(&slices).ok());
    EXPECT_EQ(reinterpret_cast<const char*>(slices.back().begin()), buffer);
  }
  EXPECT_TRUE(watched.expired());
}

TEST(VisualTokenMessagesTest, TrailerHasTheTotalAndTheTimes) {
  EncodedPicture picture = LargePicture(2);
  picture.cache_hit = true;
  const auto message = Parsed(picture, 2);
  ASSERT_TRUE(message.has_trailer());
  EXPECT_EQ(message.trailer().total_bytes(), 256 << 10);
  EXPECT_EQ(message.trailer().image_decode().nanos(), 1'000'000);
  EXPECT_EQ(message.trailer().image_resize().nanos(), 2'000'000);
  EXPECT_EQ(message.trailer().vision_queue().nanos(), 3'000'000);
  EXPECT_EQ(message.trailer().vit().nanos(), 4'000'000);
  EXPECT_TRUE(message.trailer().cache_hit());
}

}  // namespace
}  // namespace diptych::vision
