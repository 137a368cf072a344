// Reading small files whole.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace diptych {

// The bytes of a regular file. NOT_FOUND if there is none, OUT_OF_RANGE if it holds more than `max_bytes`
// (nothing is read then), UNAVAILABLE if reading fails. Messages don't repeat the file's name.
absl::StatusOr<std::string> ReadFile(const std::string& file, int64_t max_bytes);

}  // namespace diptych
