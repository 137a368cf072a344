#include "language_service/images/vision_errors.h"

#include <string>

#include "common/grpc_status.h"
#include "common/status.h"

namespace diptych::language {
namespace {

absl::Status TierUnavailable() {
  return RetryLater(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "the vision tier cannot be reached",
                    absl::Seconds(1));
}

// The stage in which the vision tier met the deadline, if it got to say so.
std::string_view StageNamedBy(const absl::Status& error) {
  for (const std::string_view stage : {"image_decode", "image_resize", "vision_queue"}) {
    if (error.message() == DeadlinePassed(stage).message()) return stage;
  }
  return "token_transfer";
}

}  // namespace

// A server that stops cancels the calls that outlast its grace period.
bool IsWorthRetrying(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
}

absl::Status FromVisionTier(const grpc::Status& status, const CallWatch& watch) {
  if (watch.cancelled()) return watch.Check("token_transfer");
  const absl::Status error = FromGrpcStatus(status);
  switch (error.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      return TierUnavailable();
    case absl::StatusCode::kDeadlineExceeded:
      return DeadlinePassed(StageNamedBy(error));
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
      if (!ReasonOf(error).empty()) return error;
      break;
    default:
      break;
  }
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, "the vision tier failed");
}

}  // namespace diptych::language
