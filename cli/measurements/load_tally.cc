#include "cli/measurements/load_tally.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/measurements/measure.h"
#include "cli/terminal/text.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr struct {
  const char* name;
  double share;
} kPercentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1}};

nlohmann::ordered_json PercentilesJson(const std::vector<double>& seconds) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  if (seconds.empty()) return object;
  for (const auto& percentile : kPercentiles) object[percentile.name] = Percentile(seconds, percentile.share);
  return object;
}

std::vector<std::string> PercentileRow(const char* name, const std::vector<double>& seconds) {
  std::vector<std::string> row{name};
  for (const auto& percentile : kPercentiles) row.push_back(FormatSeconds(Percentile(seconds, percentile.share)));
  return row;
}

// Not so with RATE_LIMITED, which is the key's doing, and SLOW_READER, which is the caller's.
bool IsFull(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason == reason::kQueueFull || reason == reason::kKvFull;
}

// "RATE_LIMITED (over the rate of the key)"
std::string ErrorText(const std::string& reason) {
  return reason == reason::kRateLimited ? reason + " (over the rate of the key)" : Printable(reason);
}

}  // namespace

LoadReport Tally(const std::vector<LoadResult>& results, double seconds) {
  LoadReport report{.requests = static_cast<int>(results.size()), .seconds = seconds};
  for (const LoadResult& result : results) {
    if (result.status.ok()) {
      ++report.answered;
      report.tokens += result.tokens;
      report.total.push_back(result.seconds);
      report.first_token.push_back(result.first_token_seconds);
    } else if (IsFull(result.status)) {
      ++report.refused;
    } else {
      const std::string reason = ReasonOf(result.status);
      ++report.errors[reason.empty() ? absl::StatusCodeToString(result.status.code()) : reason];
    }
  }
  return report;
}

nlohmann::ordered_json LoadJson(const LoadReport& report) {
  return {{"requests", report.requests},
          {"answered", report.answered},
          {"refused", report.refused},
          {"errors", report.errors},
          {"seconds", report.seconds},
          {"answers_per_second", report.answered / report.seconds},
          {"tokens_per_second", static_cast<double>(report.tokens) / report.seconds},
          {"total_seconds", PercentilesJson(report.total)},
          {"first_token_seconds", PercentilesJson(report.first_token)}};
}

std::string LoadText(const LoadReport& report) {
  std::string text = absl::StrFormat("%d requests in %s: %d answered, %d refused because the server was full",
                                     report.requests, FormatSeconds(report.seconds), report.answered, report.refused);
  for (const auto& [reason, count] : report.errors) absl::StrAppend(&text, ", ", count, " ", ErrorText(reason));
  absl::StrAppendFormat(&text, "\n%.1f answers/s, %.0f tokens/s\n", report.answered / report.seconds,
                        static_cast<double>(report.tokens) / report.seconds);
  if (report.total.empty()) return text;
  std::vector<std::string> header{""};
  for (const auto& percentile : kPercentiles) header.push_back(percentile.name);
  return text + "\n" +
         FormatTable(header,
                     {PercentileRow("first token", report.first_token), PercentileRow("whole answer", report.total)},
                     {1, 2, 3, 4, 5});
}

Chart LoadChart(const LoadReport& report) {
  Panel panel{.title = absl::StrFormat("Time to answer: %d of %d answered, %.1f a second", report.answered,
                                       report.requests, report.answered / report.seconds),
              .x_label = "share of the requests that took at most this long",
              .y_label = "time (ms)",
              .value_text = MillisecondsText};
  Series first{.name = "first token"}, whole{.name = "whole answer"};
  for (const auto& percentile : kPercentiles) {
    panel.categories.push_back(percentile.name);
    first.values.push_back(1000 * Percentile(report.first_token, percentile.share));
    whole.values.push_back(1000 * Percentile(report.total, percentile.share));
  }
  panel.series = {std::move(first), std::move(whole)};
  return {.title = "Under load", .panels = {std::move(panel)}};
}

}  // namespace diptych::cli
