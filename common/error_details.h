// Details of an error in google.rpc.ErrorInfo, besides its reason (common/status.h).
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// The reasons of errors that need no other word than their code's. Never rename one.
namespace reason {
inline constexpr std::string_view kMalformedRequest = "MALFORMED_REQUEST";
inline constexpr std::string_view kDeadlineExceeded = "DEADLINE_EXCEEDED";
inline constexpr std::string_view kCancelled = "CANCELLED";
inline constexpr std::string_view kUnimplemented = "UNIMPLEMENTED";
inline constexpr std::string_view kInternal = "INTERNAL";

inline constexpr std::array kOfCodes = {kMalformedRequest, kDeadlineExceeded, kCancelled, kUnimplemented, kInternal};
}  // namespace reason

// Keys of google.rpc.ErrorInfo.metadata.
namespace detail {
// The stage in which a deadline passed: a Stage's name.
inline constexpr std::string_view kStage = "stage";
// Whose deadline it was: "caller", the name of the server's flag ("request_timeout"), or "server".
inline constexpr std::string_view kLimit = "limit";
// Tokens of the answer that the caller had got when it broke off.
inline constexpr std::string_view kTokensEmitted = "tokens_emitted";

inline constexpr std::array kAll = {kStage, kLimit, kTokensEmitted};
}  // namespace detail

// The same error with one more detail, a key of `detail`. Requires: !status.ok().
absl::Status WithDetail(absl::Status status, std::string_view key, std::string_view value);

// Empty when absent.
std::string DetailOf(const absl::Status& status, std::string_view key);

// The reason that crosses the process boundary: ReasonOf, or the code's name for an error without one.
std::string PublicReasonOf(const absl::Status& status);

}  // namespace diptych
