// What an error of the vision tier means for the caller's request.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "common/call_watch.h"

namespace diptych::language {

// True if another replica may well answer: the call never reached one, or the one it reached went away.
bool IsWorthRetrying(const grpc::Status& status);

// Refusals with a known reason pass as they are; a tier that is down becomes UNAVAILABLE with TIER_UNAVAILABLE;
// anything else INTERNAL with TIER_PROTOCOL. Requires: !status.ok().
absl::Status FromVisionTier(const grpc::Status& status, const CallWatch& watch);

}  // namespace diptych::language
