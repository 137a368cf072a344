// Metrics about the process itself: its build and its use of the machine.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "common/metrics/metrics.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// diptych_build_info, and of the process_* metrics that Prometheus' own client libraries agree on those for CPU,
// memory, files and start. `model`: what is served; null for a process without a model.
void AddProcessMetrics(MetricRegistry& registry, std::string_view tier, const v1::ModelDescription* model);

// diptych_ready, which says what `ready` does at each reading. What that asks must outlive the last one.
void AddReadiness(MetricRegistry& registry, std::function<absl::Status()> ready);

}  // namespace diptych
