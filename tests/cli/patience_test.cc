#include "cli/connection/patience.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr SteadyTime kNow{std::chrono::seconds(1000)};

absl::Status Full(absl::Duration after) {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", after);
}

TEST(PatienceTest, WaitsAsLongAsTheServerAsksAndALittleMore) {
  Patience patience(kNow + std::chrono::seconds(100));
  const auto wait = patience.WaitAfter(Full(absl::Seconds(4)), kNow);
  ASSERT_TRUE(wait.has_value());
  EXPECT_GE(*wait, absl::Seconds(4));
  EXPECT_LE(*wait, absl::Seconds(5));
}

TEST(PatienceTest, GivesUpAfterSomeTries) {
  Patience patience(kNow + std::chrono::hours(1));
  int waits = 0;
  while (patience.WaitAfter(Full(absl::Seconds(1)), kNow)) ++waits;
  EXPECT_EQ(waits, Patience::kMaxTries - 1);
}

TEST(PatienceTest, NeverWaitsIntoItsDeadline) {
  Patience patience(kNow + std::chrono::seconds(2));
  EXPECT_FALSE(patience.WaitAfter(Full(absl::Seconds(2)), kNow).has_value());
}

TEST(PatienceTest, AsksAgainOnlyWhenTheServerIsFullAndSaysUntilWhen) {
  Patience patience(kNow + std::chrono::seconds(100));
  EXPECT_FALSE(patience.WaitAfter(absl::OkStatus(), kNow));
  EXPECT_FALSE(patience.WaitAfter(absl::ResourceExhaustedError("message too large"), kNow));
  EXPECT_FALSE(patience.WaitAfter(MakeError(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full"), kNow));
  EXPECT_FALSE(patience.WaitAfter(
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kSlowReader, "slow", absl::Seconds(1)), kNow));
  EXPECT_FALSE(patience.WaitAfter(
      RetryLater(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "down", absl::Seconds(1)), kNow));
}

}  // namespace
}  // namespace diptych::cli
