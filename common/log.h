// Logging: one line an event on standard error. Content of requests (text, pixels, keys, paths) is never logged.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// Names the process in each line and sets the lowest level that is printed: trace, debug, info,
// warn, error or off. Any other level is INVALID_ARGUMENT.
absl::Status ConfigureLog(std::string_view process, std::string_view level);

}  // namespace diptych
