#include "common/stage_clock.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

using std::chrono::milliseconds;

double Milliseconds(const google::protobuf::Duration& d) {
  return d.seconds() * 1e3 + d.nanos() / 1e6;
}

TEST(StageClockTest, SegmentsAddUpToTheTotal) {
  const SteadyTime t0;
  StageClock clock(t0);
  clock.Lap(Stage::kTokenize, t0 + milliseconds(3));
  clock.Lap(Stage::kPrefill, t0 + milliseconds(10));
  clock.Lap(Stage::kDecode, t0 + milliseconds(30));
  clock.Lap(Stage::kDecode, t0 + milliseconds(35));
  const v1::StageTimings timings = clock.ToProto(t0 + milliseconds(36));
  EXPECT_EQ(Milliseconds(timings.tokenize()), 3);
  EXPECT_EQ(Milliseconds(timings.prefill()), 7);
  EXPECT_EQ(Milliseconds(timings.decode()), 25);
  EXPECT_EQ(Milliseconds(timings.unattributed()), 1);
  EXPECT_EQ(Milliseconds(timings.total()), 36);
}

TEST(StageClockTest, SplitGivesTheRestWhatThePartsLeave) {
  const SteadyTime t0;
  StageClock clock(t0);
  const std::pair<Stage, SteadyDuration> parts[] = {{Stage::kImageDecode, milliseconds(2)},
                                                    {Stage::kVit, milliseconds(5)}};
  clock.LapSplit(parts, Stage::kTokenTransfer, t0 + milliseconds(10));
  EXPECT_EQ(clock.spent(Stage::kTokenTransfer), milliseconds(3));
}

TEST(StageClockTest, PartsThatClaimTooMuchAreCutOff) {
  const SteadyTime t0;
  StageClock clock(t0);
  const std::pair<Stage, SteadyDuration> parts[] = {{Stage::kImageDecode, milliseconds(8)},
                                                    {Stage::kVit, milliseconds(5)}};
  clock.LapSplit(parts, Stage::kTokenTransfer, t0 + milliseconds(10));
  EXPECT_EQ(clock.spent(Stage::kVit), milliseconds(2));
  EXPECT_EQ(clock.spent(Stage::kTokenTransfer), milliseconds(0));
}

TEST(StageClockTest, ADurationSurvivesItsProtoForm) {
  const SteadyDuration d = std::chrono::nanoseconds(3'000'000'007);
  EXPECT_EQ(FromProtoDuration(ToProtoDuration(d)), d);
}

}  // namespace
}  // namespace diptych
