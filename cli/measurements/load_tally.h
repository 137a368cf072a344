// What `diptych bench load` counts and shows.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/charts/chart.h"

namespace diptych::cli {

// How one request ended, seen by its caller.
struct LoadResult {
  absl::Status status = absl::OkStatus();
  double seconds = 0;              // until its end
  double first_token_seconds = 0;  // until the first piece of text
  int tokens = 0;                  // of the answer
};

struct LoadReport {
  int requests = 0, answered = 0, refused = 0;  // refused: because the server was full
  std::map<std::string, int> errors = {};       // by reason, or code where there is none
  double seconds = 0;                           // of the whole run
  int64_t tokens = 0;
  std::vector<double> total = {}, first_token = {};  // seconds, of the answered
};

LoadReport Tally(const std::vector<LoadResult>& results, double seconds);
nlohmann::ordered_json LoadJson(const LoadReport& report);
std::string LoadText(const LoadReport& report);
Chart LoadChart(const LoadReport& report);

}  // namespace diptych::cli
