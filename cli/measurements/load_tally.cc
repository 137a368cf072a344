#include "cli/measurements/load_tally.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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

// The connection broke, or the stream ended before its answer.
bool IsLost(const absl::Status& status) {
  return ReasonOf(status).empty() && (absl::IsUnavailable(status) || absl::IsInternal(status));
}

void AddAnswer(const LoadResult& result, LoadReport& report) {
  const Slo& slo = report.plan.slo;
  ++report.answered;
  report.tokens += result.tokens;
  report.total.push_back(result.seconds);
  report.first_token.push_back(result.first_token_seconds);
  report.between_tokens.insert(report.between_tokens.end(), result.between_tokens.begin(), result.between_tokens.end());
  if (result.first_token_seconds <= slo.first_token_seconds && result.seconds <= slo.total_seconds) ++report.within_slo;
}

void AddFailure(const absl::Status& status, LoadReport& report) {
  if (IsFull(status)) {
    ++report.refused;
  } else if (absl::IsDeadlineExceeded(status)) {
    ++report.past_deadline;
  } else if (IsLost(status)) {
    ++report.lost;
  } else {
    const std::string reason = ReasonOf(status);
    ++report.errors[reason.empty() ? absl::StatusCodeToString(status.code()) : reason];
  }
}

// A line, or nothing where no answer had to keep anything.
std::string GoodputText(const LoadReport& report) {
  const Slo& slo = report.plan.slo;
  if (!slo.Asks() || report.requests == 0) return "";
  std::vector<std::string> kept;
  if (std::isfinite(slo.first_token_seconds))
    kept.push_back("first token in " + FormatSeconds(slo.first_token_seconds));
  if (std::isfinite(slo.total_seconds)) kept.push_back("whole answer in " + FormatSeconds(slo.total_seconds));
  return absl::StrFormat("goodput %.1f answers/s: %d of %d requests, %.0f %%, had their %s\n",
                         report.within_slo / report.seconds, report.within_slo, report.requests,
                         100.0 * report.within_slo / report.requests, absl::StrJoin(kept, " and "));
}

std::string PercentileTable(const LoadReport& report) {
  std::vector<std::string> header{""};
  for (const auto& percentile : kPercentiles) header.push_back(percentile.name);
  std::vector<std::vector<std::string>> rows{PercentileRow("first token", report.first_token)};
  if (!report.between_tokens.empty()) rows.push_back(PercentileRow("between tokens", report.between_tokens));
  rows.push_back(PercentileRow("whole answer", report.total));
  if (report.plan.rate) rows.push_back(PercentileRow("asked late by", report.late));
  return FormatTable(header, rows, {1, 2, 3, 4, 5});
}

// "RATE_LIMITED (over the rate of the key)"
std::string ErrorText(const std::string& reason) {
  return reason == reason::kRateLimited ? reason + " (over the rate of the key)" : Printable(reason);
}

}  // namespace

LoadReport Tally(const std::vector<LoadResult>& results, double seconds, const LoadPlan& plan) {
  LoadReport report{.plan = plan, .requests = static_cast<int>(results.size()), .seconds = seconds};
  for (const LoadResult& result : results) {
    report.late.push_back(result.late_seconds);
    report.text_only += result.text_only ? 1 : 0;
    if (result.status.ok()) {
      AddAnswer(result, report);
    } else {
      AddFailure(result.status, report);
    }
  }
  return report;
}

nlohmann::ordered_json LoadJson(const LoadReport& report) {
  nlohmann::ordered_json json{{"requests", report.requests},
                              {"text_only", report.text_only},
                              {"answered", report.answered},
                              {"refused", report.refused},
                              {"past_deadline", report.past_deadline},
                              {"lost", report.lost},
                              {"errors", report.errors},
                              {"seconds", report.seconds},
                              {"answers_per_second", report.answered / report.seconds},
                              {"tokens_per_second", static_cast<double>(report.tokens) / report.seconds},
                              {"total_seconds", PercentilesJson(report.total)},
                              {"first_token_seconds", PercentilesJson(report.first_token)},
                              {"between_tokens_seconds", PercentilesJson(report.between_tokens)}};
  if (report.plan.rate) {
    json["rate"] = *report.plan.rate;
    json["late_seconds"] = PercentilesJson(report.late);
  }
  if (report.plan.slo.Asks()) {
    json["within_slo"] = report.within_slo;
    json["goodput_per_second"] = report.within_slo / report.seconds;
  }
  return json;
}

std::string LoadText(const LoadReport& report) {
  std::string text = absl::StrFormat("%d requests in %s: %d answered, %d refused because the server was full",
                                     report.requests, FormatSeconds(report.seconds), report.answered, report.refused);
  if (report.past_deadline > 0) absl::StrAppend(&text, ", ", report.past_deadline, " past their deadline");
  if (report.lost > 0) absl::StrAppend(&text, ", ", report.lost, " lost");
  for (const auto& [reason, count] : report.errors) absl::StrAppend(&text, ", ", count, " ", ErrorText(reason));
  absl::StrAppendFormat(&text, "\n%.1f answers/s, %.0f tokens/s", report.answered / report.seconds,
                        static_cast<double>(report.tokens) / report.seconds);
  if (report.plan.rate) absl::StrAppendFormat(&text, "; asked at %g/s", *report.plan.rate);
  if (report.text_only > 0) absl::StrAppend(&text, "; ", report.text_only, " without an image");
  absl::StrAppend(&text, "\n", GoodputText(report));
  return report.total.empty() ? text : text + "\n" + PercentileTable(report);
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
