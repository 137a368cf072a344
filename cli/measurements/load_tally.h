// What `diptych bench load` counts and shows.
#pragma once

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/charts/chart.h"

namespace diptych::cli {

// How one request ended, seen by its caller. Times count from when it was to be asked: what the client itself is late
// by is not taken off.
struct LoadResult {
  absl::Status status = absl::OkStatus();
  double seconds = 0;                       // until its end
  double first_token_seconds = 0;           // until the first piece of text
  std::vector<double> between_tokens = {};  // seconds from each piece of text, mostly one token, to the next
  int tokens = 0;                           // of the answer
  double late_seconds = 0;                  // from when it was to be asked until it was
  bool text_only = false;
};

// The times that a good answer keeps.
struct Slo {
  double first_token_seconds = std::numeric_limits<double>::infinity();
  double total_seconds = std::numeric_limits<double>::infinity();

  bool Asks() const { return std::isfinite(first_token_seconds) || std::isfinite(total_seconds); }
};

// How the load was made.
struct LoadPlan {
  std::optional<double> rate = std::nullopt;  // arrivals a second; none: so many at a time, one after the other
  Slo slo = {};
};

struct LoadReport {
  LoadPlan plan = {};
  int requests = 0, text_only = 0;
  int answered = 0, refused = 0;           // refused: because the server was full
  int past_deadline = 0, lost = 0;         // lost: ended without a status
  std::map<std::string, int> errors = {};  // all others by reason, or code where there is none
  int within_slo = 0;                      // of the answered
  double seconds = 0;                      // of the whole run
  int64_t tokens = 0;
  std::vector<double> total = {}, first_token = {}, between_tokens = {};  // seconds, of the answered
  std::vector<double> late = {};                                          // seconds, of all

  bool failed() const { return answered == 0 || past_deadline + lost > 0 || !errors.empty(); }
};

LoadReport Tally(const std::vector<LoadResult>& results, double seconds, const LoadPlan& plan = {});
nlohmann::ordered_json LoadJson(const LoadReport& report);
std::string LoadText(const LoadReport& report);
Chart LoadChart(const LoadReport& report);

}  // namespace diptych::cli
