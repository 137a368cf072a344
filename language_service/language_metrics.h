// The metrics of the language service. Names, labels and meanings: docs/metrics.md.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/metrics/answer_metrics.h"
#include "common/metrics/cache_metrics.h"
#include "common/metrics/metrics.h"
#include "diptych/v1/inference.pb.h"
#include "language_service/engine/engine_stats.h"
#include "language_service/images/image_store.h"
#include "language_service/images/pull_metrics.h"
#include "language_service/vllm_metrics.h"

namespace diptych::language {

// Everything that the service counts elsewhere, read at about the same time.
struct LanguageStats {
  EngineStats engine;
  ImageStoreStats images;
  int64_t inflight_bytes = 0;
  int64_t vision_replicas = 0;  // that are known
};

class LanguageMetrics {
 public:
  // `vllm_names`: also those of vllm_metrics.h.
  LanguageMetrics(MetricRegistry& registry, const v1::ModelDescription& model, const KvCacheShape& kv_cache,
                  bool vllm_names);

  // As the members of AnswerMetrics. Thread-safe.
  void Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took, std::string_view trace_id);
  // The same for AnalyzeQueries, which has none. vLLM knows no such request.
  void AnalysisEnded(const absl::Status& status, SteadyDuration took, std::string_view trace_id);
  void TokensArrived(const TokenGaps& gaps);

  // Takes over what is counted elsewhere. Only in MetricRegistry::OnCollect.
  void Refresh(const LanguageStats& stats);

  PullMetrics pulls;

 private:
  AnswerMetrics answers_;
  Gauge running_, waiting_, inflight_bytes_, kv_cache_usage_;
  Gauge vision_replicas_;
  Counter preemptions_;
  Histogram batch_size_;
  CacheMetrics projected_tokens_, kv_prefix_;
  std::optional<VllmMetrics> vllm_;
};

// The same numbers as the service's current state.
v1::TierLoad LoadOf(const LanguageStats& stats);

}  // namespace diptych::language
