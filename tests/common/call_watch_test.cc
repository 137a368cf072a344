#include "common/call_watch.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

constexpr SteadyTime kDeadline{std::chrono::seconds(100)};

TEST(CallWatchTest, IsOkBeforeTheDeadlineAndNamesTheStageFromItOn) {
  const CallWatch watch(kDeadline);
  EXPECT_TRUE(watch.Check("vit", kDeadline - std::chrono::nanoseconds(1)).ok());
  const absl::Status late = watch.Check("vit", kDeadline);
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find("vit"), absl::string_view::npos);
}

TEST(CallWatchTest, CancelComesBeforeTheDeadline) {
  CallWatch watch(kDeadline);
  watch.Cancel();
  EXPECT_TRUE(watch.cancelled());
  EXPECT_EQ(watch.Check("vit", kDeadline).code(), absl::StatusCode::kCancelled);
}

TEST(CallWatchTest, WithoutDeadlineItNeverPasses) {
  EXPECT_TRUE(CallWatch(SteadyTime::max()).Check("vit", kDeadline).ok());
}

}  // namespace
}  // namespace diptych
