#include "gateway/tiers/tier_call.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/grpc_status.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

// What gRPC itself says when a deadline passes; a tier names the stage instead.
constexpr char kLocalDeadline[] = "Deadline Exceeded";

}  // namespace

absl::Status TierOutcome(const grpc::Status& status, const TierName& name, const grpc::CallbackServerContext& caller,
                         bool begun) {
  const absl::Status ended = FromGrpcStatus(status);
  if (ended.ok() || !ReasonOf(ended).empty()) return ended;  // the tier's own words
  const std::string tier(name.tier);
  switch (ended.code()) {
    case absl::StatusCode::kCancelled:
      if (caller.IsCancelled()) return absl::CancelledError("the caller went away");
      [[fallthrough]];  // a replica that is shut down by force cancels its calls
    case absl::StatusCode::kUnavailable:
      return MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable,
                       begun ? absl::StrCat("the ", tier, " tier broke off in the middle of the answer")
                             : absl::StrCat("no ", tier, " replica answers"));
    case absl::StatusCode::kDeadlineExceeded:
      return ended.message() == kLocalDeadline ? DeadlinePassed(name.stage) : ended;
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
      return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, absl::StrCat("the ", tier, " tier failed"));
    default:
      return ended;
  }
}

// A tier that is UNAVAILABLE for a reason of its own has done what could be done, unless it drains.
bool IsWorthRepeating(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return false;
  return status.error_details().empty() || ReasonOf(FromGrpcStatus(status)) == reason::kDraining;
}

}  // namespace diptych::gateway
