// The meaning of the end of a call to a tier: whether another replica may answer, and which error the caller gets.
#pragma once

#include <grpcpp/support/status.h>

#include <string_view>

#include "absl/status/status.h"
#include "common/stage.h"

namespace diptych {

// Calls to a tier for one request, the first included.
inline constexpr int kMaxTierAttempts = 3;

// kWhereThereIsRoom: that replica is full; another one may have room, or it itself later.
enum class Retry { kNo, kAnotherReplica, kWhereThereIsRoom };

// kAnotherReplica if the call reached no replica, or if the one that it reached went away, drains or lost its device. A
// replica that is stopped by force cancels its calls, so CANCELLED counts too: find out first whether the caller itself
// cancelled.
Retry RetryOf(const grpc::Status& status);

// The error for the caller; OK stays OK. `tier` is "vision" or "language"; `stage` is where a deadline passed if the
// tier did not get to say so. Requires: the caller itself has not cancelled.
//   refusals with a reason                       as they are
//   what RetryOf would try elsewhere             UNAVAILABLE, TIER_UNAVAILABLE, with a time to retry
//   DEADLINE_EXCEEDED                            with the stage
//   INTERNAL with a reason                       as it is
//   anything else, which no healthy tier says    INTERNAL, TIER_PROTOCOL
absl::Status FromTier(const grpc::Status& status, std::string_view tier, Stage stage);

// UNAVAILABLE with TIER_UNAVAILABLE and a time to retry.
absl::Status TierUnavailable(std::string_view message);

}  // namespace diptych
