#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace diptych::cli {

// Gets an https address, at most `max_bytes`. Follows five redirects, to https only; within a minute, ten seconds
// of it for the connection; through the proxy of the environment, if any. The authorities are the system's, or those in
// the file that SSL_CERT_FILE names. Errors in words that fit behind "ADDRESS: ". CANCELLED after Ctrl-C. Thread-safe.
absl::StatusOr<std::string> FetchImage(const std::string& address, int64_t max_bytes);

}  // namespace diptych::cli
