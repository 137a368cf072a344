#include "common/replicas/tier_errors.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/grpc/call_context.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr absl::Duration kAskAgainIn = absl::Seconds(1);

// Codes that a tier uses for what it found out about the request.
bool IsRefusal(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

std::string Named(std::string_view tier, const char* before, const char* after) {
  return absl::StrCat(before, absl::string_view(tier.data(), tier.size()), after);
}

}  // namespace

Retry RetryOf(const grpc::Status& status) {
  if (status.error_code() == grpc::StatusCode::CANCELLED) return Retry::kAnotherReplica;
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    const std::string why = ReasonOf(FromGrpcStatus(status));
    return why == reason::kQueueFull || why == reason::kKvFull ? Retry::kWhereThereIsRoom : Retry::kNo;
  }
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return Retry::kNo;
  // A tier that is UNAVAILABLE for a reason of its own has done what could be done, unless its process is about to end.
  const std::string reason = ReasonOf(FromGrpcStatus(status));
  const bool ends = reason == reason::kDraining || reason == reason::kDeviceLost;
  return reason.empty() || ends ? Retry::kAnotherReplica : Retry::kNo;
}

absl::Status FromTier(const grpc::Status& status, std::string_view tier, Stage stage) {
  if (status.ok()) return absl::OkStatus();
  if (RetryOf(status) == Retry::kAnotherReplica) return TierUnavailable(Named(tier, "no ", " replica answers"));
  const absl::Status error = FromGrpcStatus(status);
  if (absl::IsDeadlineExceeded(error))
    return DeadlinePassed(StageNamed(DetailOf(error, detail::kStage)).value_or(stage));
  if (IsRefusal(error.code()) && !ReasonOf(error).empty()) return error;
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, Named(tier, "the ", " tier failed"));
}

absl::Status TierUnavailable(std::string_view message) {
  return RetryLater(absl::StatusCode::kUnavailable, reason::kTierUnavailable, message, kAskAgainIn);
}

}  // namespace diptych
