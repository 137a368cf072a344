#include "common/call_watch.h"

#include <gtest/gtest.h>

#include "common/error_details.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr SteadyTime kDeadline{std::chrono::seconds(100)};

TEST(CallWatchTest, IsOkBeforeTheDeadlineAndNamesTheStageFromItOn) {
  const CallWatch watch(kDeadline);
  EXPECT_TRUE(watch.Check(Stage::kVit, kDeadline - std::chrono::nanoseconds(1)).ok());
  const absl::Status late = watch.Check(Stage::kVit, kDeadline);
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find("vit"), absl::string_view::npos);
  EXPECT_EQ(ReasonOf(late), reason::kDeadlineExceeded);
  EXPECT_EQ(DetailOf(late, detail::kStage), "vit");
}

TEST(CallWatchTest, CancelComesBeforeTheDeadline) {
  CallWatch watch(kDeadline);
  watch.Cancel();
  EXPECT_TRUE(watch.cancelled());
  EXPECT_EQ(watch.Check(Stage::kVit, kDeadline).code(), absl::StatusCode::kCancelled);
}

TEST(CallWatchTest, WithoutDeadlineItNeverPasses) {
  EXPECT_TRUE(CallWatch(SteadyTime::max()).Check(Stage::kVit, kDeadline).ok());
}

}  // namespace
}  // namespace diptych
