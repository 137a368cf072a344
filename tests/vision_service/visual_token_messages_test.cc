#include "vision_service/visual_token_messages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/grpc/wire.h"
#include "common/hash.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::vision {
namespace {

// `tokens` visual tokens of 128 KiB each.
EncodeResult LargeImage(int tokens) {
  EncodeResult result;
  result.image = *VisualTokens::Make(
      at::arange(tokens * 65536, at::kInt).remainder(1000).to(at::kBFloat16).view({tokens, 65536}), "key", 224);
  result.timings = {.image_decode = std::chrono::milliseconds(1),
                    .image_resize = std::chrono::milliseconds(2),
                    .queue = std::chrono::milliseconds(3),
                    .vit = std::chrono::milliseconds(4)};
  return result;
}

v1::EncodeImageResponse Parsed(const EncodeResult& result, int index) {
  v1::EncodeImageResponse message;
  EXPECT_TRUE(ParseMessage(MessageAt(result, "model", index), message).ok());
  return message;
}

TEST(VisualTokenMessagesTest, HeaderSaysWhatFollows) {
  const auto message = Parsed(LargeImage(2), 0);
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
  const EncodeResult result = LargeImage(5);
  ASSERT_EQ(MessageCount(result), 5);
  std::string joined;
  for (int i = 1; i <= 3; ++i) {
    const auto message = Parsed(result, i);
    ASSERT_TRUE(message.has_chunk());
    EXPECT_EQ(message.chunk().index(), i - 1);
    EXPECT_LE(message.chunk().data().size(), kMaxChunkBytes);
    EXPECT_EQ(message.chunk().crc32c(), Crc32c(message.chunk().data()));
    joined += message.chunk().data();
  }
  EXPECT_EQ(joined, result.image->bytes());
}

TEST(VisualTokenMessagesTest, AFullLastChunkNeedsNoOther) {
  EXPECT_EQ(MessageCount(LargeImage(4)), 4);
}

TEST(VisualTokenMessagesTest, AChunkIsSentFromTheImagesOwnBufferWhichItKeepsAlive) {
  EncodeResult result = LargeImage(1);
  const std::weak_ptr<const VisualTokens> watched = result.image;
  const char* buffer = result.image->bytes().data();
  {
    const grpc::ByteBuffer message = MessageAt(result, "model", 1);
    result.image = nullptr;
    EXPECT_FALSE(watched.expired());
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(message.Dump(&slices).ok());
    EXPECT_EQ(reinterpret_cast<const char*>(slices.back().begin()), buffer);
  }
  EXPECT_TRUE(watched.expired());
}

TEST(VisualTokenMessagesTest, TrailerHasTheTotalAndTheTimes) {
  EncodeResult result = LargeImage(2);
  result.cache_hit = true;
  const auto message = Parsed(result, 2);
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
