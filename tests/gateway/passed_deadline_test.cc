#include "gateway/passed_deadline.h"

#include <gtest/gtest.h>

#include "common/error_details.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr ServerLimit kLimit{std::chrono::minutes(2), kRequestTimeoutFlag};

TEST(PassedDeadlineTest, TheServersLimitNamesItsFlagAndLength) {
  const CallContext call(SteadyTime{}, CallContext::Limit::kServer);
  const absl::Status status = ExplainDeadline(DeadlinePassed(Stage::kPrefill), call, kLimit);
  EXPECT_EQ(status.message(),
            "the deadline passed in stage prefill; this server gives a request 2m (--request_timeout)");
  EXPECT_EQ(DetailOf(status, detail::kStage), "prefill");
  EXPECT_EQ(DetailOf(status, detail::kLimit), "request_timeout");
}

TEST(PassedDeadlineTest, TheCallersOwnMayBeLonger) {
  const CallContext call(SteadyTime{}, CallContext::Limit::kCaller);
  const absl::Status status = ExplainDeadline(DeadlinePassed(Stage::kVit), call, kLimit);
  EXPECT_EQ(status.message(), "the deadline passed in stage vit; allow the request more time");
  EXPECT_EQ(ReasonOf(status), reason::kDeadlineExceeded);
  EXPECT_EQ(DetailOf(status, detail::kLimit), "caller");
}

TEST(PassedDeadlineTest, AnyOtherStatusStaysAsItIs) {
  const CallContext call(SteadyTime{});
  EXPECT_EQ(ExplainDeadline(CallerLeft(), call, kLimit), CallerLeft());
  EXPECT_TRUE(ExplainDeadline(absl::OkStatus(), call, kLimit).ok());
}

}  // namespace
}  // namespace diptych::gateway
