// What `diptych bench optimizations` compares, and what it shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/charts/chart.h"

namespace diptych::cli {

// A way to answer the same number of questions.
struct Technique {
  std::string name;
  std::string dtype = "float32";
  double token_merging = 0;
  int at_once = 1;                                // questions in flight
  bool one_image = false;                         // all questions about the same image, and caches that may keep it
  std::vector<double> seconds_per_answer = {};    // one a round
  std::vector<double> processor_per_answer = {};  // the same in processor time of the three servers
};

// The notebook's way first: float32, one question at a time, no caches. Then one change at a time.
std::vector<Technique> Techniques(double token_merging, int at_once);

// All changes together, with the fastest dtype of those measured. Requires a measured technique.
Technique Combined(const std::vector<Technique>& measured);

nlohmann::ordered_json TechniqueJson(const Technique& technique, const Technique& baseline);
std::string TechniqueTable(const std::vector<Technique>& techniques);
// Speed-ups over the first.
Chart TechniqueChart(const std::vector<Technique>& techniques);

}  // namespace diptych::cli
