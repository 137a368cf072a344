#include "cli/measurements/sweep_chart.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/measurements/measure.h"
#include "cli/terminal/text.h"
#include "common/requests/question_limits.h"

namespace diptych::cli {
namespace {

constexpr size_t kSweepAnswerColumns = 60;

Panel BySize(const std::vector<SweptSize>& sizes, Panel::Form form, const char* title, const char* y_label) {
  Panel panel{.form = form, .title = title, .x_label = "side of the image (px)", .y_label = y_label};
  for (const SweptSize& size : sizes) {
    panel.categories.push_back(absl::StrCat(size.image_size));
    panel.x.push_back(size.image_size);
  }
  return panel;
}

}  // namespace

std::vector<SweptSize> AllowedSizes(const std::vector<int>& requested, int patch_size) {
  const int patch = std::max(patch_size, 1), most = std::max(kMaxImageSize / patch, 1);
  std::vector<SweptSize> sizes;
  for (const int wanted : requested) {
    const int patches = static_cast<int>(std::clamp<int64_t>((int64_t{wanted} + patch / 2) / patch, 1, most));
    sizes.push_back({.requested = wanted, .image_size = patches * patch});
  }
  std::stable_sort(sizes.begin(), sizes.end(),
                   [](const SweptSize& a, const SweptSize& b) { return a.image_size < b.image_size; });
  return sizes;
}

nlohmann::ordered_json SweptJson(const SweptSize& swept) {
  return {{"requested", swept.requested},
          {"image_size", swept.image_size},
          {"patch_tokens", swept.patches()},
          {"image_tokens", swept.answer.context_budget().image_tokens()},
          {"answer_tokens", swept.answer.token_ids_size()},
          {"median_seconds", Median(swept.seconds)},
          {"median_vit_seconds", Median(swept.vit_seconds)},
          {"seconds", swept.seconds},
          {"cache_hits", swept.cache_hits},
          {"answer", swept.answer.text()}};
}

std::string SweepTable(const std::vector<SweptSize>& sizes) {
  std::vector<std::vector<std::string>> rows;
  for (const SweptSize& size : sizes) {
    rows.push_back({absl::StrCat(size.image_size, " px"), FormatCount(size.patches()),
                    absl::StrCat(size.answer.context_budget().image_tokens()), FormatSeconds(Median(size.seconds)),
                    FormatSeconds(Median(size.vit_seconds)), absl::StrCat(size.answer.token_ids_size()),
                    Printable(Shorten(size.answer.text(), kSweepAnswerColumns))});
  }
  return FormatTable({"size", "patches", "query tokens", "time", "of it ViT", "answer tokens", "answer"}, rows,
                     {0, 1, 2, 3, 4, 5});
}

Chart SweepChart(const std::vector<SweptSize>& sizes) {
  Panel time = BySize(sizes, Panel::Form::kLine, "Time to answer", "median time (ms)");
  time.value_text = MillisecondsText;
  time.series = {
      SeriesOf(sizes, "whole answer", [](const SweptSize& s) { return 1000 * Median(s.seconds); }),
      SeriesOf(sizes, "vision transformer", [](const SweptSize& s) { return 1000 * Median(s.vit_seconds); })};
  Panel tokens = BySize(sizes, Panel::Form::kBars, "Patches that the vision transformer sees", "patches");
  tokens.series = {SeriesOf(sizes, "patches", [](const SweptSize& s) { return s.patches(); })};
  Panel length = BySize(sizes, Panel::Form::kBars, "Length of the answer", "tokens");
  length.series = {SeriesOf(sizes, "tokens", [](const SweptSize& s) { return s.answer.token_ids_size(); })};
  return {.title = "One question at several resolutions",
          .panels = {std::move(time), std::move(tokens), std::move(length)}};
}

}  // namespace diptych::cli
