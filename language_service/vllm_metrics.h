// The language service's numbers under the names that vLLM's V1 engine gave them, for dashboards, autoscalers and
// request routers that read those (--metrics_compat=vllm). Meanings are vLLM's, buckets are our own.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/metrics/metrics.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::language {

// The engine's counters, in vLLM's form.
struct VllmSnapshot {
  int64_t running = 0;
  int64_t waiting = 0;
  double kv_cache_usage = 0;                    // 0 to 1
  int64_t prefix_queries = 0, prefix_hits = 0;  // tokens
  int64_t image_queries = 0, image_hits = 0;    // images
  int64_t preemptions = 0;
};

// The KV cache.
struct KvCacheShape {
  int64_t blocks = 0;
  int64_t block_tokens = 0;
};

class VllmMetrics {
 public:
  VllmMetrics(MetricRegistry& registry, const std::string& model_name, const KvCacheShape& kv_cache);

  // As the members of AnswerMetrics. Thread-safe.
  void Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took);
  void TokensArrived(const TokenGaps& gaps);

  // Only in MetricRegistry::OnCollect.
  void Refresh(const VllmSnapshot& snapshot);

 private:
  void ObserveTimings(const v1::Answer& answer);

  const MetricLabels labels_;
  Gauge running_, waiting_, kv_cache_usage_;
  Counter prefix_queries_, prefix_hits_, image_queries_, image_hits_, preemptions_;
  Counter prompt_tokens_, generation_tokens_;
  Counter stop_, length_, abort_, error_;
  Histogram first_token_, inter_token_, per_output_token_, request_per_output_token_;
  Histogram whole_, queue_, inference_, prefill_, decode_;
};

}  // namespace diptych::language
