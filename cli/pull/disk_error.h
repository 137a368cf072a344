#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace diptych::cli {

// The error of errno about writing `path`, with a remedy.
absl::Status CannotWrite(const std::filesystem::path& path);
// The same for a given error.
absl::Status CannotWrite(const std::filesystem::path& path, int error);

}  // namespace diptych::cli
