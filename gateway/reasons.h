// Reasons that only the gateway gives, beside those of common/status.h. Never rename one.
#pragma once

#include <string_view>

namespace diptych::gateway {

inline constexpr std::string_view kInvalidApiKey = "INVALID_API_KEY";
// Over a key's own limits.
inline constexpr std::string_view kRateLimited = "RATE_LIMITED";
// An address from which no picture came, though it may be asked.
inline constexpr std::string_view kImageUrlFailed = "IMAGE_URL_FAILED";

}  // namespace diptych::gateway
