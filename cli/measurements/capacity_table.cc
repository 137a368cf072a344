#include "cli/measurements/capacity_table.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr struct {
  const char* name;
  double share;
} kShownPercentiles[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}};

nlohmann::ordered_json DistributionJson(const Distribution& seconds) {
  nlohmann::ordered_json object{{"mean", seconds.Mean()}};
  for (const auto& percentile : kShownPercentiles) object[percentile.name] = seconds.Quantile(percentile.share);
  return object;
}

std::vector<std::string> DistributionRow(const char* name, const Distribution& seconds) {
  std::vector<std::string> row{name, FormatSeconds(seconds.Mean())};
  for (const auto& percentile : kShownPercentiles) row.push_back(FormatSeconds(seconds.Quantile(percentile.share)));
  return row;
}

std::string UnitsText(double units, const std::string& unit) {
  const auto whole = static_cast<int64_t>(std::llround(units));
  const std::string count = units == static_cast<double>(whole) ? FormatCount(whole) : absl::StrFormat("%.4g", units);
  return absl::StrCat(count, " ", unit, units == 1 ? "" : "s");
}

std::vector<std::string> TierRow(const char* name, int replicas, double units, const std::string& unit,
                                 double utilization) {
  return {name, FormatCount(replicas), UnitsText(replicas * units, unit),
          absl::StrFormat("%.0f %%", 100 * utilization)};
}

}  // namespace

nlohmann::ordered_json CapacityJson(const CapacityPlan& plan, const Hardware& hardware) {
  return {{"vision_replicas", plan.replicas.vision},
          {"language_replicas", plan.replicas.language},
          {"vision_units", plan.replicas.vision * hardware.vision_units},
          {"language_units", plan.replicas.language * hardware.language_units},
          {"vision_utilization", plan.vision_utilization},
          {"language_utilization", plan.language_utilization},
          {"image_seconds", DistributionJson(plan.vision)},
          {"first_token_seconds", DistributionJson(plan.first_token)},
          {"answer_seconds", DistributionJson(plan.answer)},
          {"price_per_hour", plan.price_per_hour},
          {"price_per_1000_questions", plan.price_per_1000}};
}

std::string CapacityText(const CapacityPlan& plan, const Hardware& hardware, const std::string& vision_unit,
                         const std::string& language_unit) {
  const std::string tiers = FormatTable(
      {"tier", "replicas", "hardware", "used"},
      {TierRow("vision", plan.replicas.vision, hardware.vision_units, vision_unit, plan.vision_utilization),
       TierRow("language", plan.replicas.language, hardware.language_units, language_unit, plan.language_utilization)},
      {1, 2, 3});
  const std::string seconds =
      FormatTable({"expected time", "mean", "p50", "p95", "p99"},
                  {DistributionRow("an image in the vision tier", plan.vision),
                   DistributionRow("first token", plan.first_token), DistributionRow("whole answer", plan.answer)},
                  {1, 2, 3, 4});
  return absl::StrCat(
      tiers, "\n", seconds,
      absl::StrFormat("\n%.4g for 1,000 questions, %.4g an hour\n", plan.price_per_1000, plan.price_per_hour));
}

}  // namespace diptych::cli
