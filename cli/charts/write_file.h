#pragma once

#include <string>

#include "absl/status/status.h"

namespace diptych::cli {

// Replaces the file's content. Errors name the file.
absl::Status WriteFile(const std::string& file, const std::string& bytes);

}  // namespace diptych::cli
