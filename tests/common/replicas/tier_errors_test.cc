#include "common/replicas/tier_errors.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/error_details.h"
#include "common/grpc/call_context.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"

namespace diptych {
namespace {

using absl::StatusCode;

struct TierErrorCase {
  const char* name;
  grpc::Status said;
  Retry retry;
  absl::Status told;
};

grpc::Status FromTransport(grpc::StatusCode code, const char* message = "") {
  return grpc::Status(code, message);
}

std::vector<TierErrorCase> Cases() {
  const absl::Status unavailable = TierUnavailable("no vision replica answers");
  const absl::Status failed = MakeError(StatusCode::kInternal, reason::kTierProtocol, "the vision tier failed");
  const absl::Status corrupt = InvalidField(reason::kImageCorrupt, "image", "cut off");
  const absl::Status full = RetryLater(StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(3));
  const absl::Status mismatch = MakeError(StatusCode::kFailedPrecondition, reason::kModelMismatch, "another model");
  const absl::Status too_long = MakeError(StatusCode::kOutOfRange, reason::kContextLengthExceeded, "too long");
  const absl::Status unknown_model = MakeError(StatusCode::kNotFound, reason::kModelUnknown, "no such model");
  const absl::Status next_tier = MakeError(StatusCode::kUnavailable, reason::kTierUnavailable, "no vision replica");
  const absl::Status protocol = MakeError(StatusCode::kInternal, reason::kTierProtocol, "out of order");
  const absl::Status own_fault = MakeError(StatusCode::kInternal, reason::kInternal, "the server failed in stage vit");
  const auto draining = ToGrpcStatus(MakeError(StatusCode::kUnavailable, reason::kDraining, "shutting down"));
  const absl::Status lost = MakeError(StatusCode::kUnavailable, reason::kDeviceLost, "the device failed");
  return {
      {"no connection", FromTransport(grpc::StatusCode::UNAVAILABLE, "refused"), Retry::kAnotherReplica, unavailable},
      {"draining", draining, Retry::kAnotherReplica, unavailable},
      {"a lost device", ToGrpcStatus(lost), Retry::kAnotherReplica, unavailable},
      {"stopped by force", FromTransport(grpc::StatusCode::CANCELLED), Retry::kAnotherReplica, unavailable},
      {"stopped by force, in its words", ToGrpcStatus(CallerLeft()), Retry::kAnotherReplica, unavailable},
      {"without the tier behind it", ToGrpcStatus(next_tier), Retry::kNo, next_tier},
      {"refused image", ToGrpcStatus(corrupt), Retry::kNo, corrupt},
      {"full", ToGrpcStatus(full), Retry::kWhereThereIsRoom, full},
      {"another model", ToGrpcStatus(mismatch), Retry::kNo, mismatch},
      {"too long", ToGrpcStatus(too_long), Retry::kNo, too_long},
      {"unknown model", ToGrpcStatus(unknown_model), Retry::kNo, unknown_model},
      {"deadline, in its words", ToGrpcStatus(DeadlinePassed(Stage::kVisionQueue)), Retry::kNo,
       DeadlinePassed(Stage::kVisionQueue)},
      {"deadline, silently", FromTransport(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"), Retry::kNo,
       DeadlinePassed(Stage::kTokenTransfer)},
      {"a stage that nobody knows",
       ToGrpcStatus(WithDetail(absl::DeadlineExceededError("late"), detail::kStage, "lunch")), Retry::kNo,
       DeadlinePassed(Stage::kTokenTransfer)},
      {"a broken protocol", ToGrpcStatus(protocol), Retry::kNo, protocol},
      {"a fault of its own", ToGrpcStatus(own_fault), Retry::kNo, own_fault},
      {"a fault of the transport", FromTransport(grpc::StatusCode::INTERNAL, "stack"), Retry::kNo, failed},
      {"too large a message", FromTransport(grpc::StatusCode::RESOURCE_EXHAUSTED, "larger"), Retry::kNo, failed},
      {"no such method", FromTransport(grpc::StatusCode::UNIMPLEMENTED), Retry::kNo, failed},
      {"a key that is not the caller's", ToGrpcStatus(absl::UnauthenticatedError("who?")), Retry::kNo, failed},
      {"an unknown fault", FromTransport(grpc::StatusCode::UNKNOWN, "stack"), Retry::kNo, failed},
      {"lost data", FromTransport(grpc::StatusCode::DATA_LOSS), Retry::kNo, failed},
  };
}

TEST(TierErrorsTest, OneTableSaysWhoIsAskedNextAndWhatTheCallerIsTold) {
  for (const TierErrorCase& c : Cases()) {
    EXPECT_EQ(RetryOf(c.said), c.retry) << c.name;
    EXPECT_EQ(FromTier(c.said, "vision", Stage::kTokenTransfer), c.told) << c.name;
  }
}

TEST(TierErrorsTest, AnUnavailableTierSaysWhenToComeBack) {
  EXPECT_TRUE(RetryAfterOf(TierUnavailable("down")).has_value());
}

TEST(TierErrorsTest, OkStaysOk) {
  EXPECT_EQ(RetryOf(grpc::Status::OK), Retry::kNo);
  EXPECT_TRUE(FromTier(grpc::Status::OK, "vision", Stage::kVit).ok());
}

}  // namespace
}  // namespace diptych
