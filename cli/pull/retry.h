// When something that failed is worth another try.
#pragma once

#include <curl/curl.h>

#include <algorithm>
#include <optional>

#include "absl/time/time.h"

namespace diptych::cli {

inline constexpr int kTries = 5;  // in a row that bring nothing
// If the hub asks for a longer pause, there is no retry.
inline constexpr absl::Duration kLongestBreak = absl::Seconds(20);

// True for answers that another try may change.
inline bool IsPassing(int status) {
  return status == 408 || status == 425 || status == 429 || status >= 500;
}

// True for a request that failed on its way. A name that is not known, a certificate that is not accepted and a refused
// redirect stay as they are.
inline bool IsPassing(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_ABORTED_BY_CALLBACK:
      return false;
    default:
      return true;
  }
}

// The same for one of many requests, when others have reached the hub before.
inline bool IsPassingOnceReached(CURLcode code) {
  return IsPassing(code) || code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

// How long to wait before try number `next`, or nullopt if there is none. Requires: next >= 2; the first try is 1.
inline std::optional<absl::Duration> BreakBefore(int next, absl::Duration asked_for) {
  if (next > kTries || asked_for > kLongestBreak) return std::nullopt;
  return std::max(asked_for, absl::Milliseconds(250) * (1 << (next - 2)));
}

}  // namespace diptych::cli
