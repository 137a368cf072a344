#include "common/logging/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging/stderr_sink.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr char kMembersLogger[] = "members";

// Writes what is logged as a JSON string.
class QuotedMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    const nlohmann::json text = std::string(message.payload.data(), message.payload.size());
    const std::string quoted = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    line.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<QuotedMessage>(); }
};

std::unique_ptr<spdlog::formatter> JsonFormatter(std::string_view process, std::string_view members) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<QuotedMessage>('*').set_pattern(
      absl::StrCat(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","process":")", std::string(process), R"(",)",
                   std::string(members), "}"));
  return formatter;
}

// In colours on a terminal.
std::shared_ptr<spdlog::logger> StderrLogger(const std::string& name) {
  if (isatty(STDERR_FILENO) == 1) {
    return std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  }
  return std::make_shared<spdlog::logger>(name, std::make_shared<StderrSink>());
}

absl::Status NotOneOf(std::string_view flag, std::string_view words, std::string_view got) {
  return InvalidField(
      reason::kOptionRange, flag,
      absl::StrCat("--", std::string(flag), " is one of ", std::string(words), "; got '", std::string(got), "'"));
}

}  // namespace

absl::Status ConfigureLog(std::string_view process, std::string_view level, std::string_view format) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return NotOneOf("log_level", "trace, debug, info, warn, error, off", level);
  }
  if (format != "text" && format != "json") return NotOneOf("log_format", "text, json", format);
  spdlog::drop(kMembersLogger);
  auto logger = StderrLogger(std::string(process));
  logger->set_level(parsed);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %n: %v");
  if (format == "json") {
    logger->set_formatter(JsonFormatter(process, R"("message":%*)"));
    const auto members = StderrLogger(kMembersLogger);
    spdlog::register_logger(members);
    members->set_level(parsed);
    members->set_formatter(JsonFormatter(process, "%v"));
  }
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

void LogMembers(spdlog::level::level_enum level, std::string_view text, const std::string& members) {
  const auto json = spdlog::get(kMembersLogger);
  if (json != nullptr) return json->log(level, spdlog::string_view_t(members.data(), members.size()));
  spdlog::log(level, spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace diptych
