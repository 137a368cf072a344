// What a process says of itself: which program it is and what it takes of the machine.
#pragma once

#include <string_view>

#include "common/metrics.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// diptych_build_info, and of the process_* metrics that Prometheus' own client libraries agree on those for CPU,
// memory, files and start. `model`: what is served; null for a process without a model.
void AddProcessMetrics(MetricRegistry& registry, std::string_view tier, const v1::ModelDescription* model);

}  // namespace diptych
