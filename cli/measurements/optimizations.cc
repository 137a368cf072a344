#include "cli/measurements/optimizations.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/measurements/measure.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

double SpeedUp(const Technique& technique, const Technique& baseline) {
  return Median(baseline.seconds_per_answer) / Median(technique.seconds_per_answer);
}

std::string SpeedUpText(double value) {
  return absl::StrFormat("%.2f×", value);
}

}  // namespace

std::vector<Technique> Techniques(double token_merging, int at_once) {
  return {{.name = "baseline"},
          {.name = "bfloat16", .dtype = "bfloat16"},
          {.name = "float16", .dtype = "float16"},
          {.name = "merging", .token_merging = token_merging},
          {.name = "batching", .at_once = at_once},
          {.name = "caches", .one_image = true}};
}

Technique Combined(const std::vector<Technique>& measured) {
  Technique combined{.name = "combined"};
  const Technique* fastest = nullptr;
  for (const Technique& technique : measured) {
    const bool only_dtype = technique.token_merging == 0 && technique.at_once == 1 && !technique.one_image;
    if (only_dtype &&
        (fastest == nullptr || Median(technique.seconds_per_answer) < Median(fastest->seconds_per_answer))) {
      fastest = &technique;
    }
    combined.token_merging = std::max(combined.token_merging, technique.token_merging);
    combined.at_once = std::max(combined.at_once, technique.at_once);
    combined.one_image |= technique.one_image;
  }
  if (fastest != nullptr) combined.dtype = fastest->dtype;
  return combined;
}

nlohmann::ordered_json TechniqueJson(const Technique& technique, const Technique& baseline) {
  return {{"technique", technique.name},
          {"dtype", technique.dtype},
          {"token_merging", technique.token_merging},
          {"at_once", technique.at_once},
          {"one_image", technique.one_image},
          {"median_seconds_per_answer", Median(technique.seconds_per_answer)},
          {"speed_up", SpeedUp(technique, baseline)},
          {"median_processor_seconds_per_answer", Median(technique.processor_per_answer)},
          {"rounds", technique.seconds_per_answer}};
}

std::string TechniqueTable(const std::vector<Technique>& techniques) {
  std::vector<std::vector<std::string>> rows;
  for (const Technique& technique : techniques) {
    const auto [least, most] =
        std::minmax_element(technique.seconds_per_answer.begin(), technique.seconds_per_answer.end());
    rows.push_back({technique.name, technique.dtype, absl::StrFormat("%g", technique.token_merging),
                    absl::StrCat(technique.at_once), technique.one_image ? "one, cached" : "each its own",
                    FormatSeconds(Median(technique.seconds_per_answer)),
                    absl::StrCat(FormatSeconds(*least), " – ", FormatSeconds(*most)),
                    SpeedUpText(SpeedUp(technique, techniques.front())),
                    FormatSeconds(Median(technique.processor_per_answer))});
  }
  return FormatTable(
      {"technique", "dtype", "merging", "at once", "image", "per answer", "rounds", "speed-up", "processor"}, rows,
      {2, 3, 5, 6, 7, 8});
}

Chart TechniqueChart(const std::vector<Technique>& techniques) {
  Panel panel{.title = "Answers per second over the baseline's",
              .x_label = "against float32, one question at a time, no caches",
              .y_label = "speed-up",
              .references = {{"baseline", 1}},
              .value_text = SpeedUpText};
  Series series{.name = "speed-up"};
  for (const Technique& technique : techniques) {
    panel.categories.push_back(technique.name);
    series.values.push_back(SpeedUp(technique, techniques.front()));
  }
  panel.series.push_back(std::move(series));
  return {.title = "What optimisations save, measured in one run", .panels = {std::move(panel)}};
}

}  // namespace diptych::cli
