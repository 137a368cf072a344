// JSON from outside.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

inline constexpr size_t kMaxJsonDepth = 32;
// Values and keys of a body: each takes up to fifty times the two bytes that it has as text.
inline constexpr int kMaxJsonValues = 16'384;

// The object that `text` holds. INVALID_ARGUMENT if it is no JSON object, is nested deeper than kMaxJsonDepth, has
// more than `max_values` values and keys, names a key twice in one object, or is not UTF-8; the message calls it `what`
// and quotes nothing of it.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what = "the body",
                                               int max_values = kMaxJsonValues);

}  // namespace diptych
