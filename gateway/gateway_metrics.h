// What the gateway counts. Names, labels and meanings: docs/metrics.md.
#pragma once

#include "common/answer_metrics.h"
#include "common/metrics.h"

namespace diptych::gateway {

// Thread-safe.
struct GatewayMetrics {
  explicit GatewayMetrics(MetricRegistry& registry);

  AnswerMetrics answers;
  Counter repeats;           // of questions, on another language replica
  Gauge language_reachable;  // 1 or 0
};

}  // namespace diptych::gateway
