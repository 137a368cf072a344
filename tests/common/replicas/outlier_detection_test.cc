#include "common/replicas/outlier_detection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace diptych {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using Ejection = std::optional<SteadyDuration>;

constexpr SteadyTime kNoon(std::chrono::hours(12));

// So many failures, each asked after the last one was known, one a second; what the last one led to.
Ejection Fail(OutlierDetection& detection, const std::string& replica, int times, SteadyTime first) {
  Ejection last;
  for (int i = 0; i < times; ++i) last = detection.OnFailure(replica, first + seconds(i), first + seconds(i));
  return last;
}

class OutlierDetectionTest : public ::testing::Test {
 protected:
  OutlierDetectionTest() {
    for (const char* replica : {"a", "b", "c", "d"}) detection_.OnAnswer(replica, kNoon);
  }

  OutlierDetection detection_;
};

TEST_F(OutlierDetectionTest, LeavesOutWhoFailsAgainAndAgain) {
  EXPECT_EQ(Fail(detection_, "a", 2, kNoon), std::nullopt);
  EXPECT_EQ(Fail(detection_, "a", 1, kNoon + seconds(2)), OutlierDetection::kFirstEjection);
  EXPECT_THAT(detection_.Remaining(kNoon + seconds(2)), ElementsAre("b", "c", "d"));
  EXPECT_EQ(detection_.NextReturn(kNoon + seconds(2)), kNoon + seconds(12));
  EXPECT_EQ(detection_.Ejected(kNoon + seconds(11)), 1);
  EXPECT_EQ(detection_.Ejected(kNoon + seconds(12)), 0);
}

TEST_F(OutlierDetectionTest, AnAnswerBetweenFailuresForgivesThem) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Fail(detection_, "a", 2, kNoon + seconds(10 * i)), std::nullopt);
    detection_.OnAnswer("a", kNoon + seconds(10 * i + 5));
  }
}

TEST_F(OutlierDetectionTest, CallsThatEndTogetherAreOneFailure) {
  for (int i = 0; i < 50; ++i) EXPECT_EQ(detection_.OnFailure("a", kNoon, kNoon + seconds(6)), std::nullopt);
}

TEST_F(OutlierDetectionTest, LeavesOutHalfAtMost) {
  EXPECT_TRUE(Fail(detection_, "a", 3, kNoon));
  EXPECT_TRUE(Fail(detection_, "b", 3, kNoon));
  EXPECT_FALSE(Fail(detection_, "c", 5, kNoon));
  EXPECT_THAT(detection_.Remaining(kNoon + seconds(5)), ElementsAre("c", "d"));
  EXPECT_TRUE(Fail(detection_, "c", 1, kNoon + seconds(13))) << "once the others are back";
}

TEST_F(OutlierDetectionTest, TheOnlyReplicaIsAlwaysAsked) {
  OutlierDetection detection;
  EXPECT_FALSE(Fail(detection, "a", 100, kNoon));
}

TEST_F(OutlierDetectionTest, ComesBackOnProbationAndForLongerEachTime) {
  SteadyTime now = kNoon;
  EXPECT_EQ(Fail(detection_, "a", 3, now), seconds(10));
  for (const int pause : {20, 40, 60, 60}) {
    now = *detection_.NextReturn(now + seconds(2));
    for (const char* other : {"b", "c", "d"}) detection_.OnAnswer(other, now);
    EXPECT_THAT(detection_.Remaining(now), ElementsAre("a", "b", "c", "d"));
    EXPECT_EQ(detection_.NextReturn(now), std::nullopt);
    EXPECT_EQ(Fail(detection_, "a", 1, now), seconds(pause));
  }
}

TEST_F(OutlierDetectionTest, WhoAnswersAfterItsReturnIsAsGoodAsBefore) {
  EXPECT_TRUE(Fail(detection_, "a", 3, kNoon));
  detection_.OnAnswer("a", kNoon + seconds(15));
  EXPECT_EQ(Fail(detection_, "a", 2, kNoon + seconds(16)), std::nullopt);
  EXPECT_EQ(Fail(detection_, "a", 1, kNoon + seconds(18)), seconds(10));
}

TEST_F(OutlierDetectionTest, LateNewsOfOneThatIsLeftOutChangesNothing) {
  EXPECT_TRUE(Fail(detection_, "a", 3, kNoon));
  EXPECT_FALSE(Fail(detection_, "a", 5, kNoon + seconds(3)));
  EXPECT_EQ(detection_.NextReturn(kNoon + seconds(9)), kNoon + seconds(12));
}

TEST_F(OutlierDetectionTest, ForgetsReplicasThatAreGone) {
  const SteadyTime later = kNoon + OutlierDetection::kForgetAfter + seconds(1);
  detection_.OnAnswer("e", later);
  EXPECT_THAT(detection_.Remaining(later), ElementsAre("e"));
}

}  // namespace
}  // namespace diptych
