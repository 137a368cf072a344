// The metrics that every process keeps of its calls. Names, labels and meanings: docs/metrics.md.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/metrics/metrics.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// Upper ends of buckets, in seconds.
std::vector<double> StageBuckets();
std::vector<double> RequestBuckets();

// diptych_requests_total, diptych_errors_total and diptych_request_seconds. Thread-safe.
class CallMetrics {
 public:
  explicit CallMetrics(MetricRegistry& registry);

  // A call ended; `finish_reason` is unspecified for one that generates nothing or failed.
  // `trace_id`: empty where its trace is not recorded.
  void Ended(const absl::Status& status, v1::FinishReason finish_reason, SteadyDuration took,
             std::string_view trace_id = {});

 private:
  std::vector<Counter> finished_;           // OK, by v1::FinishReason
  std::vector<Counter> failed_;             // by absl::StatusCode; that of OK is finished_[0]
  std::map<std::string, Counter> reasons_;  // by reason; those that are not listed count as "other"
  Histogram seconds_;
};

// diptych_stage_seconds. A stage that took no time did not happen, as with a cache hit, and is not observed.
// Thread-safe.
class StageMetrics {
 public:
  StageMetrics(MetricRegistry& registry, std::span<const Stage> stages);

  // Requires: `stage` is one of those given.
  void Observe(Stage stage, SteadyDuration spent, std::string_view trace_id = {});
  // The stages of it that were given.
  void Observe(const v1::StageTimings& timings, std::string_view trace_id = {});

 private:
  std::array<std::optional<Histogram>, static_cast<size_t>(Stage::kCount)> seconds_;
};

}  // namespace diptych
