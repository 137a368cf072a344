// The metrics of the gateway. Names, labels and meanings: docs/metrics.md.
#pragma once

#include <map>

#include "common/metrics/answer_metrics.h"
#include "common/metrics/metrics.h"

namespace diptych::gateway {

// Thread-safe.
struct GatewayMetrics {
  explicit GatewayMetrics(MetricRegistry& registry);

  // An HTTP request that became no RPC failed with this status.
  void HttpRefused(int status);

  AnswerMetrics answers;
  Counter repeats;           // of questions, on another language replica
  Gauge language_reachable;  // 1 or 0
  std::map<int, Counter> http_refused;
};

}  // namespace diptych::gateway
