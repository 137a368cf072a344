#include "common/logging/request_log.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/logging/log.h"

namespace diptych {
namespace {

double Milliseconds(SteadyDuration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

spdlog::level::level_enum LevelOf(const EndedRequest& request) {
  if (request.http_status == 500) return spdlog::level::err;
  switch (request.status.code()) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return spdlog::level::err;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return spdlog::level::warn;
    default:
      return spdlog::level::info;
  }
}

// A caller's own id has been checked at the gateway, but a tier takes calls from every holder of a certificate.
bool IsPrintable(std::string_view id) {
  return id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string AsText(const EndedRequest& request, std::string_view code, std::string_view reason) {
  std::string line =
      fmt::format("{} {} {} in {:.1f} ms", request.method, request.request_id, code, Milliseconds(request.duration));
  const auto add = [&line](std::string_view name, const auto& value) { line += fmt::format(" {}={}", name, value); };
  if (reason != code) add("reason", reason);
  if (!request.key.empty()) add("key", request.key);
  add("prompt_tokens", request.prompt_tokens);
  add("generated_tokens", request.generated_tokens);
  if (request.first_token) add("time_to_first_token_ms", fmt::format("{:.1f}", Milliseconds(*request.first_token)));
  if (!request.replica.empty()) add("replica", request.replica);
  if (request.resumed > 0) add("resumed", request.resumed);
  if (!request.trace_id.empty()) add("trace_id", request.trace_id);
  return line;
}

// Members of a JSON object, all there in each line.
std::string AsMembers(const EndedRequest& request, std::string_view code, std::string_view reason) {
  const auto rounded = [](SteadyDuration duration) { return std::round(Milliseconds(duration) * 1000) / 1000; };
  nlohmann::ordered_json object = {{"event", "request_ended"},
                                   {"method", request.method},
                                   {"request_id", request.request_id},
                                   {"code", code},
                                   {"reason", reason},
                                   {"key", request.key},
                                   {"duration_ms", rounded(request.duration)},
                                   {"prompt_tokens", request.prompt_tokens},
                                   {"generated_tokens", request.generated_tokens},
                                   {"time_to_first_token_ms", nullptr},
                                   {"replica", request.replica},
                                   {"resumed", request.resumed},
                                   {"trace_id", request.trace_id}};
  if (request.first_token) object["time_to_first_token_ms"] = rounded(*request.first_token);
  const std::string text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace

void LogEnded(const EndedRequest& ended) {
  EndedRequest request = ended;
  if (!IsPrintable(request.request_id)) request.request_id = "-";
  const std::string code = request.http_status != 0 ? absl::StrCat("HTTP_", request.http_status)
                                                    : absl::StatusCodeToString(request.status.code());
  const std::string reason = !request.http_reason.empty() ? std::string(request.http_reason)
                             : request.status.ok()        ? code
                                                          : PublicReasonOf(request.status);
  LogMembers(LevelOf(request), AsText(request, code, reason), AsMembers(request, code, reason));
}

}  // namespace diptych
