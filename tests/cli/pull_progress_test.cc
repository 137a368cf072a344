#include "cli/pull/pull_progress.h"

#include <gtest/gtest.h>

namespace diptych::cli {
namespace {

TEST(PullProgressTest, ShowsShareRateAndTimeLeft) {
  EXPECT_EQ(ProgressText(0, 1'000'000'000, 0), "[------------------------]   0 %  0.0 kB of 1.0 GB");
  EXPECT_EQ(ProgressText(500'000'000, 1'000'000'000, 100e6),
            "[############------------]  50 %  500.0 MB of 1.0 GB  100.0 MB/s  5 s left");
  EXPECT_NE(ProgressText(0, 15'000'000'000, 100e6).find("2 min 30 s left"), std::string::npos);
  EXPECT_NE(ProgressText(0, 15'000'000'000, 1e6).find("4 h 10 min left"), std::string::npos);
  EXPECT_EQ(ProgressText(10, 10, 100e6).find("left"), std::string::npos);
}

TEST(RateTest, IsThatOfTheLastSeconds) {
  Rate rate;
  EXPECT_EQ(rate.BytesPerSecond(), 0);
  SteadyTime now;
  int64_t bytes = 0;
  rate.Add(now, bytes);
  EXPECT_EQ(rate.BytesPerSecond(), 0) << "one moment has no rate";
  for (int second = 0; second < 20; ++second) rate.Add(now += std::chrono::seconds(1), bytes += 100);
  EXPECT_NEAR(rate.BytesPerSecond(), 100, 1e-9);
  for (int second = 0; second < 20; ++second) rate.Add(now += std::chrono::seconds(1), bytes);
  EXPECT_EQ(rate.BytesPerSecond(), 0) << "a line that stands still";
}

}  // namespace
}  // namespace diptych::cli
