// A passed deadline in the caller's words.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/grpc/call_context.h"

namespace diptych::gateway {

// The longest that this server lets a call take, whatever its caller allows.
struct ServerLimit {
  SteadyDuration longest;
  std::string_view flag;  // that sets it; empty: none does
};

inline constexpr std::string_view kRequestTimeoutFlag = "request_timeout";

// Of DEADLINE_EXCEEDED: adds whose deadline it was and what helps, to the message and as detail `limit`. Any other
// status stays as it is.
absl::Status ExplainDeadline(const absl::Status& status, const CallContext& call, const ServerLimit& limit);

}  // namespace diptych::gateway
