// What `diptych budget` shows, from plans of the gateway.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/charts/chart.h"
#include "diptych/v1/gateway.pb.h"

namespace diptych::cli {

// The plan of one square image in each window.
struct PlannedSize {
  int image_size = 0, patch_size = 0;  // pixels
  v1::PlanContextResponse plan;

  int patches() const { return plan.patch_tokens(0); }
};

// Every patch size with every image size, patch sizes outermost.
struct BudgetTable {
  std::vector<int> image_sizes, patch_sizes, windows;
  std::vector<PlannedSize> plans = {};

  const PlannedSize& At(size_t patch, size_t image) const { return plans[patch * image_sizes.size() + image]; }
};

// One line of `budget --json`.
nlohmann::ordered_json PlannedJson(const PlannedSize& planned);

// How many images of each size fit into each window: every patch a token, and with the Q-Former.
std::string FitTable(const BudgetTable& table);

// Four panels: tokens by size, one window shared out, text left in each window, images that fit. The last three are
// of the first patch size and at most four sizes.
Chart BudgetChart(const BudgetTable& table);

}  // namespace diptych::cli
