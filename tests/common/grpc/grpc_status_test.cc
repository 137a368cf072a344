#include "common/grpc/grpc_status.h"

#include <gtest/gtest.h>

#include "common/error_details.h"
#include "common/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace diptych {
namespace {

TEST(GrpcStatusTest, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(GrpcStatusTest, ReasonTravelsAsErrorInfo) {
  const grpc::Status status = ToGrpcStatus(MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "draining"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  ASSERT_EQ(rpc.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rpc.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "DRAINING");
  EXPECT_EQ(info.domain(), "diptych");
}

TEST(GrpcStatusTest, NoMessageHasWhiteSpaceAroundIt) {
  EXPECT_EQ(ToGrpcStatus(absl::InvalidArgumentError(" is not known ")).error_message(), "is not known");
  EXPECT_EQ(ToGrpcStatus(absl::InvalidArgumentError(" ")).error_message(), "");
}

TEST(GrpcStatusTest, EveryErrorHasAReasonWhateverItsCode) {
  for (int code = 1; code <= static_cast<int>(absl::StatusCode::kUnauthenticated); ++code) {
    const auto wanted = static_cast<absl::StatusCode>(code);
    const absl::Status status = FromGrpcStatus(ToGrpcStatus(absl::Status(wanted, "why")));
    EXPECT_EQ(status.code(), wanted);
    EXPECT_EQ(ReasonOf(status), absl::StatusCodeToString(wanted));
  }
}

TEST(GrpcStatusTest, DetailsTravelAsMetadataOfErrorInfo) {
  const grpc::Status status = ToGrpcStatus(WithDetail(absl::DeadlineExceededError("late"), detail::kStage, "prefill"));
  google::rpc::Status rpc;
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  ASSERT_TRUE(rpc.details(0).UnpackTo(&info));
  EXPECT_EQ(info.metadata().at("stage"), "prefill");
  EXPECT_EQ(DetailOf(FromGrpcStatus(status), detail::kStage), "prefill");
  EXPECT_EQ(DetailOf(FromGrpcStatus(status), detail::kLimit), "");
}

TEST(GrpcStatusTest, FieldAndRetryTimeSurviveTheRoundTrip) {
  const absl::Status field =
      FromGrpcStatus(ToGrpcStatus(InvalidField(reason::kOptionRange, "generation.top_p", "top_p is in (0, 1]")));
  EXPECT_EQ(field.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(field), "OPTION_RANGE");
  EXPECT_EQ(FieldOf(field), "generation.top_p");

  const absl::Status retry = FromGrpcStatus(ToGrpcStatus(
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "queue is full", absl::Milliseconds(1500))));
  EXPECT_EQ(ReasonOf(retry), "QUEUE_FULL");
  EXPECT_EQ(RetryAfterOf(retry), absl::Milliseconds(1500));
}

TEST(GrpcStatusTest, WhatACallerHasNamedStaysShort) {
  const std::string name(100'000, 'n');
  const grpc::Status wire = ToGrpcStatus(InvalidField(reason::kOptionRange, name, name + " is not known"));
  EXPECT_LT(wire.error_message().size() + wire.error_details().size(), 4096u);
  EXPECT_EQ(FieldOf(FromGrpcStatus(wire)), name.substr(0, 256) + "...");
}

TEST(GrpcStatusTest, MalformedDetailsLeaveThePlainStatus) {
  const absl::Status status =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model", "\xff\xff\xff"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such model");
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(StatusTest, AnnotateKeepsThePayloads) {
  const absl::Status status = Annotate(InvalidField(reason::kOptionRange, "seed", "bad"), "vision tier");
  EXPECT_EQ(status.message(), "vision tier: bad");
  EXPECT_EQ(FieldOf(status), "seed");
}

}  // namespace
}  // namespace diptych
