#include "common/replicas/loss_patience.h"

#include <gtest/gtest.h>

#include "common/replicas/tier_errors.h"

namespace diptych {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime kLostAt(std::chrono::hours(1));
constexpr SteadyTime kLate = kLostAt + std::chrono::hours(1);

// Until it gives up.
SteadyDuration TimeWithoutReplica(LossPatience& patience, SteadyTime deadline) {
  SteadyTime now = kLostAt;
  while (const auto pause = patience.OnLoss(/*connected=*/false, now, deadline)) now += *pause;
  return now - kLostAt;
}

TEST(LossPatienceTest, AnotherReplicaIsAskedAtOnceAndAThirdAfterAMoment) {
  LossPatience patience;
  EXPECT_EQ(patience.OnLoss(/*connected=*/true, kLostAt, kLate), SteadyDuration());
  EXPECT_GT(patience.OnLoss(/*connected=*/true, kLostAt, kLate), SteadyDuration());
  EXPECT_EQ(patience.OnLoss(/*connected=*/true, kLostAt, kLate), std::nullopt);
}

TEST(LossPatienceTest, WithoutReplicaOneIsWaitedForButNotASecond) {
  LossPatience patience;
  const SteadyDuration waited = TimeWithoutReplica(patience, kLate);
  EXPECT_GE(waited, milliseconds(600)) << "within that a connection that was cut is made again";
  EXPECT_LT(waited, milliseconds(700));
}

TEST(LossPatienceTest, ThatTheReplicaIsBackAndLostAgainMakesItNoLonger) {
  LossPatience patience;
  TimeWithoutReplica(patience, kLate);
  EXPECT_EQ(patience.OnLoss(/*connected=*/true, kLostAt + milliseconds(900), kLate), SteadyDuration());
  EXPECT_EQ(patience.OnLoss(/*connected=*/false, kLostAt + milliseconds(950), kLate), std::nullopt);
}

TEST(LossPatienceTest, ProgressRenewsItAndItsAttemptDoesNotCount) {
  LossPatience patience;
  TimeWithoutReplica(patience, kLate);
  patience.OnProgress();
  int attempts = 1;
  while (patience.OnLoss(/*connected=*/true, kLostAt, kLate)) ++attempts;
  EXPECT_EQ(attempts, 1 + kMaxTierAttempts);
}

TEST(LossPatienceTest, EndsBeforeTheDeadline) {
  LossPatience patience;
  EXPECT_LT(TimeWithoutReplica(patience, kLostAt + milliseconds(300)), milliseconds(300));
}

}  // namespace
}  // namespace diptych
