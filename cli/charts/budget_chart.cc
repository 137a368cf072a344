#include "cli/charts/budget_chart.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr size_t kSizesCompared = 4;

// Places in image_sizes: all, or four that lie evenly.
std::vector<size_t> ComparedSizes(const BudgetTable& table) {
  const size_t count = table.image_sizes.size(), wanted = std::min(count, kSizesCompared);
  std::vector<size_t> places;
  for (size_t i = 0; i < wanted; ++i) places.push_back(wanted == 1 ? 0 : i * (count - 1) / (wanted - 1));
  return places;
}

std::string SizeName(const PlannedSize& planned) {
  return absl::StrCat(planned.image_size, " px (", FormatCount(planned.patches()), ")");
}

std::vector<std::string> WindowNames(const BudgetTable& table) {
  std::vector<std::string> names;
  for (const int window : table.windows) names.push_back(FormatCount(window));
  return names;
}

Panel TokensBySize(const BudgetTable& table) {
  Panel panel{.form = Panel::Form::kLine,
              .title = "Visual tokens by image size",
              .x_label = "side of the image (px)",
              .y_label = "tokens"};
  std::vector<size_t> order(table.image_sizes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return table.image_sizes[a] < table.image_sizes[b]; });
  for (const size_t i : order) {
    panel.x.push_back(table.image_sizes[i]);
    panel.categories.push_back(absl::StrCat(table.image_sizes[i]));
  }
  for (size_t p = 0; p < table.patch_sizes.size(); ++p) {
    Series series{.name = absl::StrCat("patches of ", table.patch_sizes[p], " px")};
    for (const size_t i : order) series.values.push_back(table.At(p, i).patches());
    panel.series.push_back(std::move(series));
  }
  const int queries = table.plans.front().plan.query_tokens();
  panel.series.push_back({.name = absl::StrCat("with the Q-Former: ", queries, " query tokens"),
                          .values = std::vector<double>(order.size(), queries)});
  for (size_t w = 0; w < std::min<size_t>(table.windows.size(), 2); ++w) {
    panel.references.push_back({absl::StrCat("window of ", FormatCount(table.windows[w])), double(table.windows[w])});
  }
  return panel;
}

// The first window with one image as dense patches, or as query tokens.
Panel OneWindow(const BudgetTable& table) {
  const int window = table.windows.front();
  Panel panel{.form = Panel::Form::kStacked,
              .title = absl::StrCat("A window of ", FormatCount(window), " tokens with one image"),
              .x_label = absl::StrCat("side of the image (px), patches of ", table.patch_sizes.front(), " px"),
              .y_label = "tokens"};
  Series image{.name = "image"}, text{.name = "left for text"};
  const auto add = [&](const std::string& name, int tokens) {
    panel.categories.push_back(name);
    image.values.push_back(std::min(tokens, window));
    text.values.push_back(std::max(window - tokens, 0));
  };
  add("none", 0);
  for (const size_t i : ComparedSizes(table)) {
    add(absl::StrCat(table.image_sizes[i]), table.At(0, i).patches());
  }
  add("Q-Former", table.plans.front().plan.query_tokens());
  panel.series = {std::move(image), std::move(text)};
  return panel;
}

Panel TextLeft(const BudgetTable& table) {
  Panel panel{.title = "Tokens left for text and answer after one image",
              .x_label = "context window (tokens)",
              .y_label = "tokens",
              .categories = WindowNames(table)};
  const auto add = [&](const std::string& name, const PlannedSize& planned, bool dense) {
    Series series{.name = name};
    for (const v1::WindowPlan& window : planned.plan.windows()) {
      series.values.push_back(std::max(dense ? window.remaining_dense() : window.budget().remaining(), 0));
    }
    panel.series.push_back(std::move(series));
  };
  const PlannedSize& first = table.plans.front();
  add(absl::StrCat("Q-Former (", first.plan.query_tokens(), ")"), first, false);
  for (const size_t i : ComparedSizes(table)) add(SizeName(table.At(0, i)), table.At(0, i), true);
  return panel;
}

Panel ImagesThatFit(const BudgetTable& table) {
  Panel panel{.title = "Images that fit together with text and answer",
              .x_label = "context window (tokens)",
              .y_label = "images",
              .categories = WindowNames(table)};
  const auto add = [&](const std::string& name, const PlannedSize& planned, bool dense) {
    Series series{.name = name};
    for (const v1::WindowPlan& window : planned.plan.windows()) {
      series.values.push_back(dense ? window.images_that_fit_dense() : window.images_that_fit());
    }
    panel.series.push_back(std::move(series));
  };
  const PlannedSize& first = table.plans.front();
  add(absl::StrCat("Q-Former (", first.plan.query_tokens(), ")"), first, false);
  for (const size_t i : ComparedSizes(table)) add(SizeName(table.At(0, i)), table.At(0, i), true);
  return panel;
}

}  // namespace

nlohmann::ordered_json PlannedJson(const PlannedSize& planned) {
  nlohmann::ordered_json object{{"image_size", planned.image_size},
                                {"patch_size", planned.patch_size},
                                {"patch_tokens", planned.patches()},
                                {"query_tokens", planned.plan.query_tokens()},
                                {"text_tokens", planned.plan.text_tokens()}};
  nlohmann::ordered_json& windows = object["windows"] = nlohmann::ordered_json::array();
  for (const v1::WindowPlan& window : planned.plan.windows()) {
    windows.push_back({{"window", window.budget().window()},
                       {"remaining", window.budget().remaining()},
                       {"remaining_dense", window.remaining_dense()},
                       {"images_that_fit", window.images_that_fit()},
                       {"images_that_fit_dense", window.images_that_fit_dense()}});
  }
  return object;
}

std::string FitTable(const BudgetTable& table) {
  std::vector<std::string> header{"patch", "image", "tokens"};
  std::vector<size_t> right{0, 1, 2};
  for (const int window : table.windows) {
    right.push_back(header.size());
    header.push_back(absl::StrCat("fit ", FormatCount(window)));
  }
  std::vector<std::vector<std::string>> rows;
  for (const PlannedSize& planned : table.plans) {
    rows.push_back({absl::StrCat(planned.patch_size, " px"), absl::StrCat(planned.image_size, " px"),
                    FormatCount(planned.patches())});
    for (const v1::WindowPlan& window : planned.plan.windows())
      rows.back().push_back(FormatCount(window.images_that_fit_dense()));
  }
  const v1::PlanContextResponse& plan = table.plans.front().plan;
  rows.push_back({"Q-Former", "any", FormatCount(plan.query_tokens())});
  for (const v1::WindowPlan& window : plan.windows()) rows.back().push_back(FormatCount(window.images_that_fit()));
  return FormatTable(header, rows, right);
}

Chart BudgetChart(const BudgetTable& table) {
  return {.title = "Context budget: what images cost and what they leave",
          .panels = {TokensBySize(table), OneWindow(table), TextLeft(table), ImagesThatFit(table)}};
}

}  // namespace diptych::cli
