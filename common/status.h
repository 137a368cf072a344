// Errors that cross a process boundary: an absl::Status whose payloads say why in stable words.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace diptych {

// Stable words for google.rpc.ErrorInfo.reason. Callers switch on them; never rename one.
namespace reason {
inline constexpr std::string_view kImageFormat = "IMAGE_FORMAT";
inline constexpr std::string_view kImageCorrupt = "IMAGE_CORRUPT";
inline constexpr std::string_view kImageTooLarge = "IMAGE_TOO_LARGE";
inline constexpr std::string_view kTooManyImages = "TOO_MANY_IMAGES";
inline constexpr std::string_view kImageUrlRefused = "IMAGE_URL_REFUSED";
inline constexpr std::string_view kOptionRange = "OPTION_RANGE";
// The parts of a question don't fit together: turns and prompt, roles out of order, nothing asked.
inline constexpr std::string_view kQuestionForm = "QUESTION_FORM";
inline constexpr std::string_view kTextEncoding = "TEXT_ENCODING";
inline constexpr std::string_view kContextLengthExceeded = "CONTEXT_LENGTH_EXCEEDED";
inline constexpr std::string_view kModelUnknown = "MODEL_UNKNOWN";
inline constexpr std::string_view kModelMismatch = "MODEL_MISMATCH";
inline constexpr std::string_view kQueueFull = "QUEUE_FULL";
inline constexpr std::string_view kKvFull = "KV_FULL";
inline constexpr std::string_view kSlowReader = "SLOW_READER";
// The device or the machine had no memory for what the request asked for.
inline constexpr std::string_view kOutOfMemory = "OUT_OF_MEMORY";
// No later pass of this process can succeed; it ends.
inline constexpr std::string_view kDeviceLost = "DEVICE_LOST";
inline constexpr std::string_view kDraining = "DRAINING";
inline constexpr std::string_view kTierUnavailable = "TIER_UNAVAILABLE";
// A tier sent something that a healthy tier never sends (wrong shape, checksum, order).
inline constexpr std::string_view kTierProtocol = "TIER_PROTOCOL";
// Only the gateway gives these.
inline constexpr std::string_view kInvalidApiKey = "INVALID_API_KEY";
// Over a key's own limits.
inline constexpr std::string_view kRateLimited = "RATE_LIMITED";
// An allowed URL from which no image came.
inline constexpr std::string_view kImageUrlFailed = "IMAGE_URL_FAILED";

inline constexpr std::array kAll = {kImageFormat,     kImageCorrupt,    kImageTooLarge,
                                    kTooManyImages,   kImageUrlRefused, kOptionRange,
                                    kQuestionForm,    kTextEncoding,    kContextLengthExceeded,
                                    kModelUnknown,    kModelMismatch,   kQueueFull,
                                    kKvFull,          kSlowReader,      kDraining,
                                    kTierUnavailable, kTierProtocol,    kInvalidApiKey,
                                    kRateLimited,     kImageUrlFailed,  kOutOfMemory,
                                    kDeviceLost};
}  // namespace reason

// An error with a reason; `reason` may be empty.
absl::Status MakeError(absl::StatusCode code, std::string_view reason, std::string_view message);

// INVALID_ARGUMENT that also names the request's field ("question.generation.top_p").
absl::Status InvalidField(std::string_view reason, std::string_view field, std::string_view message);

// RESOURCE_EXHAUSTED or UNAVAILABLE that says when to come back.
absl::Status RetryLater(absl::StatusCode code, std::string_view reason, std::string_view message, absl::Duration after);

// What MakeError and the others put in; empty (nullopt) when absent.
std::string ReasonOf(const absl::Status& status);
std::string FieldOf(const absl::Status& status);
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

// UNAVAILABLE with DEVICE_LOST.
bool IsDeviceLost(const absl::Status& status);

// The same error with "context: " before its message; payloads are kept. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace diptych

// Returns from the enclosing function if `expr` is not OK.
#define DIPTYCH_RETURN_IF_ERROR(expr)                                 \
  do {                                                                \
    if (absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define DIPTYCH_CONCAT_(a, b) a##b
#define DIPTYCH_CONCAT(a, b) DIPTYCH_CONCAT_(a, b)

// Assigns the value of a StatusOr, or returns its error from the enclosing function.
#define DIPTYCH_ASSIGN_OR_RETURN(lhs, expr) DIPTYCH_ASSIGN_OR_RETURN_(DIPTYCH_CONCAT(status_or_, __LINE__), lhs, expr)
#define DIPTYCH_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return tmp.status();             \
  lhs = std::move(tmp).value()
