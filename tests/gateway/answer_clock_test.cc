#include "gateway/answer_clock.h"

#include <gtest/gtest.h>

#include "tests/testing/fake_tiers.h"
#include "tests/testing/stage_sum.h"

namespace diptych::gateway {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime kArrival{std::chrono::seconds(10)};

v1::StageTimings TierTimings() {
  return testing::FinishedMessage("text").finished().timings();
}

TEST(AnswerClockTest, TheGatewayStageIsWhatTheTierDidNotSee) {
  v1::StageTimings timings = TierTimings();
  const SteadyDuration tier = FromProtoDuration(timings.total());
  AnswerClock(kArrival).Join(timings, kArrival, kArrival + tier + milliseconds(7));
  EXPECT_EQ(FromProtoDuration(timings.gateway()), milliseconds(7));
  EXPECT_EQ(FromProtoDuration(timings.total()), tier + milliseconds(7));
  EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
}

TEST(AnswerClockTest, WhatTheTierTookToReadTheMessageIsTheGatewayStageToo) {
  v1::StageTimings timings;
  *timings.mutable_gateway() = ToProtoDuration(milliseconds(2));
  *timings.mutable_total() = ToProtoDuration(milliseconds(2));
  AnswerClock(kArrival).Join(timings, kArrival, kArrival + milliseconds(9));
  EXPECT_EQ(FromProtoDuration(timings.gateway()), milliseconds(9));
  EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
}

TEST(AnswerClockTest, ClocksThatDisagreeNeverMakeAStageNegative) {
  v1::StageTimings timings = TierTimings();
  AnswerClock(kArrival).Join(timings, kArrival, kArrival + milliseconds(1));  // less than the tier says it took
  EXPECT_EQ(FromProtoDuration(timings.gateway()), SteadyDuration::zero());
  EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
}

TEST(AnswerClockTest, TheFirstDeltaWithATokenMakesTheTimeToFirstToken) {
  AnswerClock clock(kArrival);
  clock.OnDelta({}, kArrival + milliseconds(1));
  clock.OnDelta(testing::DeltaMessage("a", 5).delta(), kArrival + milliseconds(2));
  clock.OnDelta(testing::DeltaMessage("b", 6).delta(), kArrival + milliseconds(3));
  v1::StageTimings timings;
  clock.Join(timings, kArrival, kArrival + milliseconds(4));
  EXPECT_EQ(FromProtoDuration(timings.time_to_first_token()), milliseconds(2));
}

// As of a prompt that is only scored: all its stages lie before the moment.
TEST(AnswerClockTest, WithoutATokenTheFirstTokensMomentIsTheEnd) {
  v1::StageTimings timings = TierTimings();
  timings.clear_first_token();
  AnswerClock(kArrival).Join(timings, kArrival, kArrival + FromProtoDuration(timings.total()) + milliseconds(7));
  EXPECT_EQ(FromProtoDuration(timings.first_token()), FromProtoDuration(timings.total()));
  EXPECT_EQ(FromProtoDuration(timings.time_to_first_token()), FromProtoDuration(timings.total()));
}

TEST(AnswerClockTest, EveryTokenButTheFirstHasAGapBeforeIt) {
  AnswerClock clock(kArrival);
  v1::Delta three;
  for (int id : {4, 5, 6}) three.add_token_ids(id);
  const TokenGaps together = clock.OnDelta(three, kArrival + milliseconds(2));
  EXPECT_EQ(together.count, 2);
  EXPECT_EQ(together.each, SteadyDuration::zero());
  EXPECT_EQ(clock.OnDelta({}, kArrival + milliseconds(3)).count, 0);
  const TokenGaps later = clock.OnDelta(three, kArrival + milliseconds(8));
  EXPECT_EQ(later.count, 3);
  EXPECT_EQ(later.each, milliseconds(2));
}

TEST(AnswerClockTest, TheFirstTokensMomentRunsFromTheArrivalHere) {
  AnswerClock clock(kArrival);
  clock.OnDelta(testing::DeltaMessage("a", 5).delta(), kArrival + milliseconds(40));
  v1::StageTimings timings = TierTimings();
  *timings.mutable_first_token() = ToProtoDuration(milliseconds(30));
  clock.Join(timings, /*asked=*/kArrival + milliseconds(5), kArrival + milliseconds(200));
  EXPECT_EQ(FromProtoDuration(timings.first_token()), milliseconds(35));
  *timings.mutable_first_token() = ToProtoDuration(milliseconds(90));  // later than it was shown
  clock.Join(timings, /*asked=*/kArrival + milliseconds(5), kArrival + milliseconds(200));
  EXPECT_EQ(FromProtoDuration(timings.first_token()), milliseconds(40));
}

TEST(AnswerClockTest, WithoutAnyTokenItIsTheWholeTime) {
  v1::StageTimings timings;
  AnswerClock(kArrival).Join(timings, kArrival, kArrival + milliseconds(4));
  EXPECT_EQ(FromProtoDuration(timings.time_to_first_token()), milliseconds(4));
}

}  // namespace
}  // namespace diptych::gateway
