// Which images share a pass of the model, and what a pass that fails does to them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <stdexcept>

#include "common/tiers/tier_defaults.h"
#include "tests/vision_service/encoder_fixture.h"

namespace diptych::vision {
namespace {

using testing::EncoderTest;
using testing::Outcome;
using testing::TokensOf;

TEST_F(EncoderTest, WhatWaitsIsComputedTogether) {
  StartHeld({.max_batch = 4});
  std::vector<Caller> callers = AskForOneAndOthers(6);
  gate_.Open();
  std::set<std::string> contents;
  for (Caller& caller : callers) contents.insert(std::string((*caller.outcome.get()).image->bytes()));
  EXPECT_EQ(contents.size(), 7u) << "each caller has its own image";
  const VisionStats stats = encoder_->stats();
  EXPECT_EQ(stats.passes, 3) << "of one, four and two";
  EXPECT_EQ(stats.encoded_images, 7);
  EXPECT_EQ(stats.passes_by_batch_size[0], 1);
  EXPECT_EQ(stats.passes_by_batch_size[1], 1);
  EXPECT_EQ(stats.passes_by_batch_size[2], 1);
}

TEST_F(EncoderTest, ImagesOfManyTokensShareAPassAsFarAsTheCachesOfTheCpuReach) {
  StartHeld({.device = "cpu"}, /*visual_tokens=*/257);
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  for (Caller& caller : callers) EXPECT_TRUE(caller.outcome.get().ok());
  EXPECT_EQ(encoder_->stats().passes, 3) << "of one, two and two";
}

TEST(MaxBatchTest, IsChosenByTheTokensOfAnImage) {
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 257), 2);
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 65), 8);
  EXPECT_EQ(tier_defaults::VisionBatch("cpu", 5330), 1);
  EXPECT_EQ(tier_defaults::VisionBatch("cuda:1", 257), 32);
  EXPECT_EQ(VisionOptions{.max_batch = 5}.MaxBatch(257), 5);
}

TEST_F(EncoderTest, AnImageThatThrowsFailsAlone) {
  // Images are told apart by their pixels: the second of the batch is the culprit.
  at::Tensor culprit;
  Start([&](const at::Tensor& pixels, int) {
    gate_.Pass();
    if (pixels.size(0) > 1) culprit = pixels[1].clone();
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      if (culprit.defined() && pixels[i].equal(culprit)) throw std::runtime_error("secret of the library");
    }
    return TokensOf(pixels);
  });
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  int failed = 0;
  for (Caller& caller : callers) {
    const Outcome outcome = caller.outcome.get();
    if (outcome.ok()) continue;
    ++failed;
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(outcome.status().message().find("secret"), absl::string_view::npos);
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(encoder_->stats().failed_images, 1);
  EXPECT_TRUE(Ask(20).outcome.get().ok()) << "the engine goes on";
  ExpectIdle();
}

TEST_F(EncoderTest, NumbersThatAreNotFiniteFailTheirImageAndAreNotRemembered) {
  bool poison = true;
  Start([&](const at::Tensor& pixels, int) {
    gate_.Pass();
    at::Tensor tokens = TokensOf(pixels).clone();
    if (pixels.size(0) > 1 && poison) tokens[2][1][1] = std::numeric_limits<float>::quiet_NaN();
    return tokens;
  });
  std::vector<Caller> callers = AskForOneAndOthers(4);
  gate_.Open();
  int bad_side = 0, failed = 0;
  for (size_t i = 0; i < callers.size(); ++i) {
    const Outcome outcome = callers[i].outcome.get();
    if (outcome.ok()) continue;
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kInternal);
    bad_side = 8 + static_cast<int>(i);
    ++failed;
  }
  EXPECT_EQ(failed, 1);
  poison = false;
  const Outcome again = Ask(bad_side).outcome.get();
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->cache_hit);
}

TEST_F(EncoderTest, TokensOfAWrongShapeAreAnError) {
  for (const auto& shape : {std::vector<int64_t>{2, 2, 3}, {2, 3}, {1, 0, 3}}) {
    Start([&](const at::Tensor&, int) { return at::zeros(shape); });
    EXPECT_EQ(Ask(8).outcome.get().status().code(), absl::StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace diptych::vision
