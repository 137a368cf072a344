// Logging: one line an event on standard error. Content of requests (text, pixels, keys, paths) is never logged.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// Names the process in each line and sets the lowest level that is printed: trace, debug, info, warn, error or off.
// `format` is "text", or "json": each line is then one JSON object, its time in UTC. INVALID_ARGUMENT for any other
// word.
absl::Status ConfigureLog(std::string_view process, std::string_view level, std::string_view format);

// Prints a line of JSON members ("\"a\":1") besides time, level and process where the format is "json", else `text`.
void LogMembers(spdlog::level::level_enum level, std::string_view text, const std::string& members);

}  // namespace diptych
