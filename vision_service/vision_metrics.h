// The metrics of the vision service. Names, labels and meanings: docs/metrics.md.
#pragma once

#include <deque>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "common/metrics/cache_metrics.h"
#include "common/metrics/call_metrics.h"
#include "common/metrics/metrics.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"
#include "vision_service/stats.h"
#include "vision_service/visual_tokens.h"

namespace diptych::vision {

// The share of the last ten seconds or so in which something was busy. Thread-compatible.
class BusyRatio {
 public:
  explicit BusyRatio(SteadyTime start) : samples_{{start, SteadyDuration::zero()}} {}

  // 0 to 1. `busy`: how long it has been busy in all.
  double At(SteadyTime now, SteadyDuration busy);

 private:
  std::deque<std::pair<SteadyTime, SteadyDuration>> samples_;  // oldest first, about a hundred at most
};

class VisionMetrics {
 public:
  VisionMetrics(MetricRegistry& registry, const v1::ModelDescription& model);

  // A call ended: OK with what its image took, or with an error and null. `trace_id`: empty where its trace is not
  // recorded. Thread-safe.
  void Ended(const absl::Status& status, const EncodeTimings* timings, SteadyDuration took, std::string_view trace_id);

  // Takes over what is counted elsewhere. Only in MetricRegistry::OnCollect.
  void Refresh(const VisionStats& stats, SteadyTime now);

 private:
  CallMetrics calls_;
  StageMetrics stages_;
  Gauge running_, waiting_, inflight_bytes_, busy_ratio_;
  Counter visual_tokens_;
  Histogram batch_size_;
  CacheMetrics cache_;
  BusyRatio busy_;
};

// The same numbers as the service's current state.
v1::TierLoad LoadOf(const VisionStats& stats);

}  // namespace diptych::vision
