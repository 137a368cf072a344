#include "language_service/images/vision_errors.h"

#include <gtest/gtest.h>

#include "common/grpc_status.h"
#include "common/status.h"

namespace diptych::language {
namespace {

absl::Status Translate(const absl::Status& from_vision) {
  return FromVisionTier(ToGrpcStatus(from_vision), CallWatch(SteadyTime::max()));
}

TEST(VisionErrorsTest, ADeadTierIsTierUnavailable) {
  for (const absl::Status& error : {absl::UnavailableError("connection refused"), absl::CancelledError("server stops"),
                                    MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "draining")}) {
    const absl::Status status = Translate(error);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
    EXPECT_TRUE(IsWorthRetrying(ToGrpcStatus(error)));
  }
}

TEST(VisionErrorsTest, RefusalsWithAReasonPass) {
  const absl::Status full =
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(3));
  EXPECT_EQ(Translate(full), full);
  const absl::Status corrupt = InvalidField(reason::kImageCorrupt, "image", "cut off");
  EXPECT_EQ(Translate(corrupt), corrupt);
  EXPECT_FALSE(IsWorthRetrying(ToGrpcStatus(full)));
}

TEST(VisionErrorsTest, WhatAHealthyTierNeverSaysIsABreachOfTheProtocol) {
  for (const absl::Status& error : {absl::InternalError("stack trace"), absl::UnimplementedError(""),
                                    absl::ResourceExhaustedError("message too large"), absl::DataLossError("?")}) {
    const absl::Status status = Translate(error);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(ReasonOf(status), reason::kTierProtocol);
    EXPECT_EQ(status.message().find("stack"), absl::string_view::npos);
  }
}

TEST(VisionErrorsTest, ADeadlineNamesTheStage) {
  EXPECT_EQ(Translate(DeadlinePassed("vision_queue")), DeadlinePassed("vision_queue"));
  EXPECT_EQ(Translate(absl::DeadlineExceededError("Deadline Exceeded")), DeadlinePassed("token_transfer"));
}

TEST(VisionErrorsTest, ACallerThatWentAwayIsCancelled) {
  CallWatch watch(SteadyTime::max());
  watch.Cancel();
  EXPECT_EQ(FromVisionTier(grpc::Status(grpc::StatusCode::UNAVAILABLE, ""), watch).code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace diptych::language
