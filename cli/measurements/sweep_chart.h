// What `diptych sweep` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/charts/chart.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// One resolution and what was measured at it.
struct SweptSize {
  int requested = 0, image_size = 0;  // pixels; the second is what the model allows
  v1::Answer answer = {};             // the last one
  std::vector<double> seconds = {}, vit_seconds = {};
  int cache_hits = 0;

  int patches() const { return answer.context_budget().dense_patch_tokens(); }
};

// The nearest multiple of the patch size for each, within 1 patch and kMaxImageSize.
std::vector<SweptSize> AllowedSizes(const std::vector<int>& requested, int patch_size);

nlohmann::ordered_json SweptJson(const SweptSize& swept);
std::string SweepTable(const std::vector<SweptSize>& sizes);
// Time, patches, and the length of the answer by resolution.
Chart SweepChart(const std::vector<SweptSize>& sizes);

}  // namespace diptych::cli
