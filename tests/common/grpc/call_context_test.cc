#include "common/grpc/call_context.h"

#include <gtest/gtest.h>

#include "common/error_details.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr SteadyTime kDeadline{std::chrono::seconds(100)};

TEST(CallContextTest, IsOkBeforeTheDeadlineAndNamesTheStageFromItOn) {
  const CallContext call(kDeadline);
  EXPECT_TRUE(call.Check(Stage::kVit, kDeadline - std::chrono::nanoseconds(1)).ok());
  const absl::Status late = call.Check(Stage::kVit, kDeadline);
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find("vit"), absl::string_view::npos);
  EXPECT_EQ(ReasonOf(late), reason::kDeadlineExceeded);
  EXPECT_EQ(DetailOf(late, detail::kStage), "vit");
}

TEST(CallContextTest, CancelComesBeforeTheDeadline) {
  CallContext call(kDeadline);
  call.Cancel();
  EXPECT_TRUE(call.cancelled());
  EXPECT_EQ(call.Check(Stage::kVit, kDeadline).code(), absl::StatusCode::kCancelled);
}

TEST(CallContextTest, WithoutDeadlineItNeverPasses) {
  EXPECT_TRUE(CallContext(SteadyTime::max()).Check(Stage::kVit, kDeadline).ok());
}

}  // namespace
}  // namespace diptych
