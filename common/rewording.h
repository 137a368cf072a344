// Errors told in a caller's own names.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// `text` with each whole word `from` replaced. Letters, digits and underscores of ASCII make words. Requires: `from` is
// not empty.
std::string ReplaceWord(std::string text, std::string_view from, std::string_view to);

// The same error with this message and, if `field` is not empty, this field. Requires: `status` is not OK.
absl::Status Reworded(const absl::Status& status, std::string_view field, std::string_view message);

}  // namespace diptych
