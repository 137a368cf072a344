#include "vision_service/visual_tokens.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/hash.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::vision {
namespace {

SteadyTime At(int milliseconds) {
  return SteadyTime(std::chrono::milliseconds(milliseconds));
}

// Decoded from 10 to 30, resized to 60, waited until 100, in the vision transformer until 150.
const EncodeTimeline kTimeline{.submitted = At(0),
                               .decode_begin = At(10),
                               .resize_begin = At(30),
                               .prepared = At(60),
                               .vit_begin = At(100),
                               .vit_end = At(150)};

TEST(EncodeTimelineTest, TheFirstCallerWaitsThroughEverything) {
  const EncodeTimings timings = kTimeline.Since(At(-5));
  EXPECT_EQ(timings.queue, std::chrono::milliseconds(10 + 40));
  EXPECT_EQ(timings.image_decode, std::chrono::milliseconds(20));
  EXPECT_EQ(timings.image_resize, std::chrono::milliseconds(30));
  EXPECT_EQ(timings.vit, std::chrono::milliseconds(50));
}

TEST(EncodeTimelineTest, OneThatJoinsIsNotChargedForWhatWasOver) {
  const EncodeTimings timings = kTimeline.Since(At(70));
  EXPECT_EQ(timings.queue, std::chrono::milliseconds(30));
  EXPECT_EQ(timings.image_decode, SteadyDuration::zero());
  EXPECT_EQ(timings.image_resize, SteadyDuration::zero());
  EXPECT_EQ(timings.vit, std::chrono::milliseconds(50));
  EXPECT_EQ(kTimeline.Since(At(140)).vit, std::chrono::milliseconds(10));
}

TEST(VisualTokensTest, RefusesWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor tokens = at::zeros({3, 4});
    tokens[2][3] = bad;
    const auto image = VisualTokens::Make(tokens, "key", 28);
    EXPECT_EQ(image.status().code(), absl::StatusCode::kInternal);
  }
  EXPECT_TRUE(VisualTokens::Make(at::zeros({3, 4}, at::kHalf), "key", 28).ok());
}

TEST(VisualTokensTest, RefusesOtherShapesAndTypes) {
  EXPECT_FALSE(VisualTokens::Make(at::zeros({1, 3, 4}), "key", 28).ok());
  EXPECT_FALSE(VisualTokens::Make(at::zeros({0, 4}), "key", 28).ok());
  EXPECT_FALSE(VisualTokens::Make(at::zeros({3, 4}).t(), "key", 28).ok());
  EXPECT_FALSE(VisualTokens::Make(at::zeros({3, 4}, at::kDouble), "key", 28).ok());
}

TEST(VisualTokensTest, ChunksCoverTheBytesAndKnowTheirSums) {
  const auto image = VisualTokens::Make(at::arange(257 * 300, at::kFloat).view({257, 300}), "key", 28);
  ASSERT_TRUE(image.ok());
  ASSERT_EQ((*image)->chunk_count(), 2);
  EXPECT_EQ((*image)->Chunk(0).size(), kMaxChunkBytes);
  EXPECT_EQ((*image)->Chunk(0).size() + (*image)->Chunk(1).size(), (*image)->bytes().size());
  for (const int i : {0, 1, 1, 0}) EXPECT_EQ((*image)->ChunkCrc32c(i), Crc32c((*image)->Chunk(i)));
}

}  // namespace
}  // namespace diptych::vision
