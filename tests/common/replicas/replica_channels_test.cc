#include "common/replicas/replica_channels.h"

#include <gtest/gtest.h>

#include "common/grpc/call_context.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"

namespace diptych {
namespace {

using Code = grpc::StatusCode;

constexpr SteadyTime kAsked(std::chrono::hours(1));

CallEnd Ended(Code code) {
  return {.replica = "ipv4:10.0.0.1:7001", .status = grpc::Status(code, ""), .asked = kAsked};
}

ReplicaVerdict After(const CallEnd& call, std::chrono::milliseconds took = std::chrono::milliseconds(1)) {
  return VerdictOf(call, kAsked + took);
}

TEST(ReplicaVerdictTest, WhatNoHealthyReplicaSaysIsAFailure) {
  EXPECT_EQ(After(Ended(Code::OK)), ReplicaVerdict::kAnswered);
  for (const Code code : {Code::INTERNAL, Code::UNKNOWN, Code::UNIMPLEMENTED, Code::DATA_LOSS, Code::UNAVAILABLE,
                          Code::UNAUTHENTICATED, Code::CANCELLED}) {
    EXPECT_EQ(After(Ended(code)), ReplicaVerdict::kFailed) << code;
  }
}

TEST(ReplicaVerdictTest, RefusalsSayNothing) {
  for (const Code code : {Code::INVALID_ARGUMENT, Code::RESOURCE_EXHAUSTED, Code::NOT_FOUND, Code::OUT_OF_RANGE,
                          Code::FAILED_PRECONDITION}) {
    EXPECT_EQ(After(Ended(code)), ReplicaVerdict::kNone) << code;
  }
  CallEnd draining = Ended(Code::OK);
  draining.status = ToGrpcStatus(MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "shutting down"));
  EXPECT_EQ(After(draining), ReplicaVerdict::kNone);
}

TEST(ReplicaVerdictTest, WhatTheCallerEndedSaysNothing) {
  CallEnd call = Ended(Code::CANCELLED);
  call.was_cancelled = true;
  EXPECT_EQ(After(call), ReplicaVerdict::kNone);
}

TEST(ReplicaVerdictTest, ADeadlineIsAFailureAfterALongSilenceOnly) {
  using std::chrono::seconds;
  CallEnd call = Ended(Code::DEADLINE_EXCEEDED);
  EXPECT_EQ(After(call, seconds(1)), ReplicaVerdict::kNone);
  EXPECT_EQ(After(call, seconds(5)), ReplicaVerdict::kFailed);
  call.was_heard = true;
  EXPECT_EQ(After(call, seconds(5)), ReplicaVerdict::kNone);
  call.was_heard = false;
  call.status = ToGrpcStatus(DeadlinePassed(Stage::kLanguageQueue));
  EXPECT_EQ(After(call, seconds(5)), ReplicaVerdict::kNone) << "the replica saw it pass";
}

TEST(ReplicaVerdictTest, ACallThatReachedNoReplicaSaysNothing) {
  for (const char* peer : {"", "unknown", "dns:///vision:7001", "ipv4:10.0.0.1:7001,10.0.0.2:7001"}) {
    CallEnd call = Ended(Code::UNAVAILABLE);
    call.replica = peer;
    EXPECT_EQ(After(call), ReplicaVerdict::kNone) << peer;
  }
}

}  // namespace
}  // namespace diptych
