// Metrics in OpenMetrics' text format, which can carry exemplars; prometheus-cpp writes the older one alone.
#pragma once

#include <prometheus/metric_family.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/metrics/exemplars.h"

namespace diptych {

// Of a histogram, one for each bucket; empty: none are known.
using ExemplarsOf = std::function<std::vector<std::optional<Exemplar>>(const std::string& name,
                                                                       const prometheus::ClientMetric& histogram)>;

// Version 1.0.0. Counters, gauges and histograms; a counter whose name does not end in _total is of unknown type, as
// the format has no other word for it.
std::string OpenMetricsText(const std::vector<prometheus::MetricFamily>& families, const ExemplarsOf& exemplars);

}  // namespace diptych
