// The line that each process logs for a request that ended there. Apart from log.h, as process.h is.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "common/stage_clock.h"

namespace diptych {

// The facts by which an operator finds a request; nothing of its content.
struct EndedRequest {
  std::string_view method;           // "ask"
  std::string_view request_id = {};  // empty where the request ended before it was read
  absl::Status status = {};
  int http_status = 0;                // in place of `status` for an HTTP request that became no RPC
  std::string_view http_reason = {};  // with http_status; may be empty
  SteadyDuration duration{};
  std::string_view key = {};                       // the name of the caller's key; empty without keys
  int64_t prompt_tokens = 0;                       // as far as they were counted
  int64_t generated_tokens = 0;                    // that were shown
  std::optional<SteadyDuration> first_token = {};  // from the arrival; empty if there was none
  std::string_view replica = {};                   // address of the replica that was asked last
  int resumed = 0;                                 // times that the begun answer went on at another replica
  std::string_view trace_id = {};                  // 32 hexadecimal digits; empty for a request without a trace
};

// With level error for INTERNAL, HTTP 500 and what is like them, warn for UNAVAILABLE and DEADLINE_EXCEEDED, else info.
// Thread-safe.
void LogEnded(const EndedRequest& request);

}  // namespace diptych
