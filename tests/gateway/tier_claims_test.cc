#include "gateway/tiers/tier_claims.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "common/stage_clock.h"
#include "common/status.h"
#include "tests/testing/fake_tiers.h"

namespace diptych::gateway {
namespace {

constexpr int kNoCounts[] = {-1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()};

TEST(TierClaimsTest, WhatTiersSayOfAnAnswerPasses) {
  v1::GenerateResponse started = testing::StartedMessage(), delta = testing::DeltaMessage("a", 5);
  v1::GenerateResponse finished = testing::FinishedMessage("a");
  const v1::GenerateResponse as_it_was = finished;
  EXPECT_TRUE(CheckClaims(started).ok());
  EXPECT_TRUE(CheckClaims(delta).ok());
  EXPECT_TRUE(CheckClaims(finished).ok());
  EXPECT_EQ(finished.SerializeAsString(), as_it_was.SerializeAsString());
}

TEST(TierClaimsTest, CountsThatCannotBeAreRefused) {
  for (const int count : kNoCounts) {
    v1::GenerateResponse messages[6];
    messages[0].mutable_started()->mutable_context_budget()->set_text_tokens(count);
    messages[1].mutable_finished()->mutable_context_budget()->set_remaining(count);
    messages[2].mutable_finished()->mutable_usage()->set_total_tokens(count);
    messages[3].mutable_finished()->mutable_usage()->set_completion_tokens(count);
    messages[4].mutable_finished()->mutable_timings()->mutable_cache_hits()->set_kv_prefix(count);
    messages[5].mutable_finished()->mutable_timings()->set_resumed(count);
    for (v1::GenerateResponse& message : messages) {
      EXPECT_EQ(ReasonOf(CheckClaims(message)), reason::kTierProtocol) << message.ShortDebugString();
    }
  }
}

TEST(TierClaimsTest, TimesStayWithinADay) {
  v1::GenerateResponse message;
  v1::StageTimings& timings = *message.mutable_finished()->mutable_timings();
  timings.mutable_total()->set_seconds(std::numeric_limits<int64_t>::max());
  timings.mutable_total()->set_nanos(std::numeric_limits<int32_t>::max());
  timings.mutable_prefill()->set_seconds(std::numeric_limits<int64_t>::min());
  timings.mutable_decode()->set_nanos(-1);
  timings.mutable_vit()->set_seconds(2);
  ASSERT_TRUE(CheckClaims(message).ok());
  EXPECT_EQ(FromProtoDuration(timings.total()), std::chrono::hours(24));
  EXPECT_EQ(FromProtoDuration(timings.prefill()), SteadyDuration::zero());
  EXPECT_EQ(FromProtoDuration(timings.decode()), SteadyDuration::zero());
  EXPECT_EQ(FromProtoDuration(timings.vit()), std::chrono::seconds(2));
  EXPECT_FALSE(timings.has_qformer());
}

TEST(TierClaimsTest, ModelsThatCannotBeAreRefused) {
  EXPECT_TRUE(CheckClaims(testing::FakeLanguageModel()).ok());
  EXPECT_TRUE(CheckClaims(v1::ModelDescription()).ok());
  for (const int count : kNoCounts) {
    v1::ModelDescription models[5];
    models[0].set_window_tokens(count);
    models[1].set_image_size(count);
    models[2].set_patch_size(count);
    models[3].set_query_tokens(count);
    models[4].set_default_max_new_tokens(count);
    for (const v1::ModelDescription& model : models) {
      EXPECT_EQ(ReasonOf(CheckClaims(model)), reason::kTierProtocol) << model.ShortDebugString();
    }
  }
  v1::ModelDescription model;
  model.set_max_image_bytes(-1);
  EXPECT_FALSE(CheckClaims(model).ok());
}

TEST(TierClaimsTest, CountsOfAPromptThatCannotBeAreRefused) {
  for (const int count : kNoCounts) {
    v1::CountTokensResponse counts;
    counts.add_history_pair_tokens(count);
    EXPECT_EQ(ReasonOf(CheckClaims(counts)), reason::kTierProtocol);
    counts.set_history_pair_tokens(0, 7);
    EXPECT_TRUE(CheckClaims(counts).ok());
    counts.set_text_tokens(count);
    EXPECT_EQ(ReasonOf(CheckClaims(counts)), reason::kTierProtocol);
  }
}

}  // namespace
}  // namespace diptych::gateway
