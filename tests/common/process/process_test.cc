#include "common/process/process.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "absl/status/status.h"
#include "common/logging/log.h"

namespace diptych {
namespace {

TEST(EndUnhealthyTest, SaysWhyTurnsReadinessOffAndEndsWithOne) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto end = [] {
    if (!StartLog("vision_service", "info", "text").ok()) return;
    EndUnhealthy(absl::UnavailableError("the device is lost"), [] { std::fputs("no longer ready\n", stderr); });
  };
  EXPECT_EXIT(end(), ::testing::ExitedWithCode(1), "ending: the device is lost(.|\n)*no longer ready");
}

}  // namespace
}  // namespace diptych
