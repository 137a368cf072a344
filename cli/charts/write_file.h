#pragma once

#include <string>

#include "absl/status/status.h"

namespace diptych::cli {

// Whether WriteFile would fail for the file that `option` gives, before the work is done: OUTPUT_NOT_WRITABLE where its
// folder is not there or may not be written, or the file is a folder. An empty name is none.
absl::Status CheckOutputFile(const std::string& option, const std::string& file);

// Replaces the file's content, or leaves it as it was: OUTPUT_NOT_WRITABLE names the file and why. Devices and pipes
// are written into.
absl::Status WriteFile(const std::string& file, const std::string& bytes);

}  // namespace diptych::cli
