#include "common/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych {

absl::Status ConfigureLog(std::string_view process, std::string_view level) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return InvalidField(
        reason::kOptionRange, "log_level",
        absl::StrCat("--log_level is one of trace, debug, info, warn, error, off; got '", std::string(level), "'"));
  }
  auto logger = spdlog::stderr_color_mt(std::string(process));
  logger->set_level(parsed);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %n: %v");
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

}  // namespace diptych
