#include "common/tiers/engine_health.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych {
namespace {

using std::chrono::seconds;

const absl::Status kFailed = absl::InternalError("a pass failed");

// Tells of passes that fail until the engine is to try itself; how many that were.
int FailUntilTrial(EngineHealth& health) {
  for (int failures = 1;; ++failures) {
    if (health.Judge(kFailed)) return failures;
  }
}

TEST(EngineHealthTest, FailuresOfRequestsAloneAreNoSickness) {
  EngineHealth health(seconds(10));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(FailUntilTrial(health), EngineHealth::kFailuresBeforeTrial);
    health.Tried(true);
    EXPECT_TRUE(health.Check().ok());
  }
}

TEST(EngineHealthTest, APassThatSucceedsForgivesThoseBefore) {
  EngineHealth health(seconds(10));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(health.Judge(i % 2 == 0 ? absl::OkStatus() : kFailed));
}

TEST(EngineHealthTest, AnEngineThatFailsOnItsOwnInputIsSickForGood) {
  EngineHealth health(seconds(10));
  FailUntilTrial(health);
  health.Tried(false);
  EXPECT_EQ(health.Check().code(), absl::StatusCode::kUnavailable);
  health.Judge(absl::OkStatus());
  EXPECT_FALSE(health.Check().ok());
}

TEST(EngineHealthTest, ALostDeviceIsSicknessForGoodAndNothingToTry) {
  EngineHealth health(seconds(10));
  EXPECT_FALSE(health.Judge(MakeError(absl::StatusCode::kUnavailable, reason::kDeviceLost, "the card is gone")));
  EXPECT_EQ(health.Check().code(), absl::StatusCode::kUnavailable);
  health.Judge(absl::OkStatus());
  EXPECT_FALSE(health.Check().ok());
}

TEST(EngineHealthTest, APassThatDoesNotEndIsSickness) {
  EngineHealth health(seconds(10));
  health.Begin();
  EXPECT_TRUE(health.Check(SteadyClock::now() + seconds(9)).ok());
  EXPECT_FALSE(health.Check(SteadyClock::now() + seconds(11)).ok());
  health.End();
  EXPECT_TRUE(health.Check(SteadyClock::now() + seconds(11)).ok());
}

}  // namespace
}  // namespace diptych
