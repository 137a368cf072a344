#include "common/replicas/loss_patience.h"

#include <gtest/gtest.h>

#include "common/replicas/tier_errors.h"

namespace diptych {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime kLostAt(std::chrono::hours(1));
constexpr SteadyTime kLate = kLostAt + std::chrono::hours(1);
constexpr SteadyDuration kConnected = SteadyDuration::zero();

// Until it gives up, of a request that comes when all replicas have been lost for `down_for`.
SteadyDuration TimeWithoutReplica(LossPatience& patience, SteadyDuration down_for, SteadyTime deadline) {
  SteadyDuration waited{};
  while (const auto pause = patience.OnLoss(down_for + waited, kLostAt + down_for + waited, deadline)) waited += *pause;
  return waited;
}

TEST(LossPatienceTest, AnotherReplicaIsAskedAtOnceAndAThirdAfterAMoment) {
  LossPatience patience;
  EXPECT_EQ(patience.OnLoss(kConnected, kLostAt, kLate), SteadyDuration());
  EXPECT_GT(patience.OnLoss(kConnected, kLostAt, kLate), SteadyDuration());
  EXPECT_EQ(patience.OnLoss(kConnected, kLostAt, kLate), std::nullopt);
}

TEST(LossPatienceTest, WithoutReplicaOneIsWaitedForButNotASecond) {
  LossPatience patience;
  const SteadyDuration waited = TimeWithoutReplica(patience, milliseconds(1), kLate);
  EXPECT_GE(waited, milliseconds(600)) << "within that a connection that was cut is made again";
  EXPECT_LT(waited, milliseconds(700));
}

TEST(LossPatienceTest, WhoComesWhenAllHaveBeenLostForLongWaitsForAMomentOnly) {
  LossPatience patience;
  const SteadyDuration waited = TimeWithoutReplica(patience, milliseconds(700), kLate);
  EXPECT_GT(waited, SteadyDuration()) << "a replica that has started may not have been dialled yet";
  EXPECT_LE(waited, milliseconds(150));
}

TEST(LossPatienceTest, ProgressRenewsItAndItsAttemptDoesNotCount) {
  LossPatience patience;
  while (patience.OnLoss(kConnected, kLostAt, kLate)) continue;
  patience.OnProgress();
  int attempts = 1;
  while (patience.OnLoss(kConnected, kLostAt, kLate)) ++attempts;
  EXPECT_EQ(attempts, 1 + kMaxTierAttempts);
}

TEST(LossPatienceTest, EndsBeforeTheDeadline) {
  LossPatience patience;
  EXPECT_LT(TimeWithoutReplica(patience, milliseconds(1), kLostAt + milliseconds(300)), milliseconds(300));
}

}  // namespace
}  // namespace diptych
