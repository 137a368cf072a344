// The metrics of one cache.
#pragma once

#include <cstdint>
#include <string>

#include "common/metrics/metrics.h"

namespace diptych {

// Counts since the process started.
struct CacheCounts {
  int64_t queries = 0;
  int64_t hits = 0;
  int64_t bytes = 0;  // held now
};

// diptych_cache_queries_total, diptych_cache_hits_total and diptych_cache_bytes.
class CacheMetrics {
 public:
  CacheMetrics(MetricRegistry& registry, const std::string& cache);

  // Only in MetricRegistry::OnCollect.
  void Refresh(const CacheCounts& counts);

 private:
  Counter queries_, hits_;
  Gauge bytes_;
};

}  // namespace diptych
