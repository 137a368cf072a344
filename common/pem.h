#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

// The text of a PEM file. INVALID_ARGUMENT, naming the flag and not the file, if it cannot be read.
absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag);

}  // namespace diptych
