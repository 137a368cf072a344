// JSON from outside.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

inline constexpr size_t kMaxJsonDepth = 32;

// The reason of what is no JSON object, or none that is taken.
inline constexpr std::string_view kInvalidJson = "INVALID_JSON";

struct JsonCounts {
  // Values and keys, without the numbers in lists: each takes up to fifty times the two bytes that it has as text.
  int values = 16'384;
  // Numbers in lists, token ids above all, as many as a message of gRPC may have (common/grpc/wire.h).
  int numbers = 128 << 10;
};

// The object that `text` holds. INVALID_ARGUMENT with INVALID_JSON if it is no JSON object, is nested deeper than
// kMaxJsonDepth, has more in it than `most`, names a key twice in one object, or is not UTF-8; the message calls it
// `what` and quotes nothing of it.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what = "the body",
                                               const JsonCounts& most = {});

}  // namespace diptych
