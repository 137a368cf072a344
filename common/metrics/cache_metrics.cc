#include "common/metrics/cache_metrics.h"

namespace diptych {

CacheMetrics::CacheMetrics(MetricRegistry& registry, const std::string& cache)
    : queries_(registry.AddCounter("diptych_cache_queries_total",
                                   "Look-ups in a cache: of images, or for kv_prefix of prompt tokens.",
                                   {{"cache", cache}})),
      hits_(registry.AddCounter("diptych_cache_hits_total", "Of these, those that found what they looked for.",
                                {{"cache", cache}})),
      bytes_(
          registry.AddGauge("diptych_cache_bytes", "Memory that the contents of a cache take.", {{"cache", cache}})) {}

void CacheMetrics::Refresh(const CacheCounts& counts) {
  queries_.RaiseTo(static_cast<double>(counts.queries));
  hits_.RaiseTo(static_cast<double>(counts.hits));
  bytes_.Set(static_cast<double>(counts.bytes));
}

}  // namespace diptych
