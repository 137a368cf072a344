#include "language_service/language_metrics.h"

#include <array>
#include <vector>

#include "common/metrics/process_metrics.h"
#include "common/replicas/replica_channels.h"

namespace diptych::language {
namespace {

// All but the gateway's.
constexpr std::array kLanguageStages = {
    Stage::kImageDecode,   Stage::kImageResize, Stage::kVisionQueue, Stage::kVit,      Stage::kTokenTransfer,
    Stage::kLanguageQueue, Stage::kTokenize,    Stage::kQFormer,     Stage::kPrefill,  Stage::kDecode,
    Stage::kDetokenize,    Stage::kDecodeQueue, Stage::kDelivery,    Stage::kRelevance};

double KvUsage(const EngineStats& engine) {
  if (engine.kv_blocks_total == 0) return 0;
  return static_cast<double>(engine.kv_blocks_used) / static_cast<double>(engine.kv_blocks_total);
}

void AddCache(const char* name, int64_t queries, int64_t hits, v1::TierLoad& load) {
  v1::CacheLoad& cache = *load.add_caches();
  cache.set_name(name);
  cache.set_queries(queries);
  cache.set_hits(hits);
}

}  // namespace

LanguageMetrics::LanguageMetrics(MetricRegistry& registry, const v1::ModelDescription& model,
                                 const KvCacheShape& kv_cache, bool vllm_names)
    : pulls(registry),
      answers_(registry, kLanguageStages),
      running_(registry.AddGauge("diptych_requests_running", "Requests that take part in the decoder's passes.")),
      waiting_(registry.AddGauge("diptych_requests_waiting",
                                 "Requests that wait for a place in the batch, for KV blocks or for their reader.")),
      inflight_bytes_(registry.AddGauge("diptych_inflight_bytes", "Memory set aside for the requests in flight.")),
      kv_cache_usage_(registry.AddGauge("diptych_kv_cache_usage_ratio",
                                        "Share of the KV cache's blocks that running requests hold.")),
      vision_replicas_(registry.AddGauge(kKnownReplicas, kKnownReplicasHelp, {{"tier", "vision"}})),
      preemptions_(registry.AddCounter("diptych_preemptions_total",
                                       "Requests that gave up their KV blocks to others and were computed again.")),
      batch_size_(registry.AddHistogram("diptych_batch_size", "Sequences in a pass of the decoder.", BatchSizeBuckets(),
                                        {{"tier", "language"}})),
      projected_tokens_(registry, "projected_tokens"),
      kv_prefix_(registry, "kv_prefix") {
  if (vllm_names) vllm_.emplace(registry, model.name(), kv_cache);
  AddProcessMetrics(registry, "language", &model);
}

void LanguageMetrics::Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took,
                            std::string_view trace_id) {
  answers_.Ended(status, answer, took, trace_id);
  if (vllm_) vllm_->Ended(status, answer, took);
}

void LanguageMetrics::AnalysisEnded(const absl::Status& status, SteadyDuration took, std::string_view trace_id) {
  answers_.Ended(status, nullptr, took, trace_id);
}

void LanguageMetrics::TokensArrived(const TokenGaps& gaps) {
  answers_.TokensArrived(gaps);
  if (vllm_) vllm_->TokensArrived(gaps);
}

void LanguageMetrics::Refresh(const LanguageStats& stats) {
  const EngineStats& engine = stats.engine;
  running_.Set(static_cast<double>(engine.requests_running));
  waiting_.Set(static_cast<double>(engine.requests_waiting));
  inflight_bytes_.Set(static_cast<double>(stats.inflight_bytes));
  kv_cache_usage_.Set(KvUsage(engine));
  vision_replicas_.Set(static_cast<double>(stats.vision_replicas));
  preemptions_.RaiseTo(static_cast<double>(engine.preemptions));
  batch_size_.RaiseTo(engine.passes_by_batch_size, static_cast<double>(engine.rows));
  projected_tokens_.Refresh(
      {.queries = stats.images.queries, .hits = stats.images.hits, .bytes = stats.images.cached_bytes});
  kv_prefix_.Refresh({.queries = engine.prompt_tokens,
                      .hits = engine.cached_tokens,
                      .bytes = engine.kv_blocks_cached * engine.kv_block_bytes});
  if (!vllm_) return;
  vllm_->Refresh({.running = engine.requests_running,
                  .waiting = engine.requests_waiting,
                  .kv_cache_usage = KvUsage(engine),
                  .prefix_queries = engine.prompt_tokens,
                  .prefix_hits = engine.cached_tokens,
                  .image_queries = stats.images.queries,
                  .image_hits = stats.images.hits,
                  .preemptions = engine.preemptions});
}

v1::TierLoad LoadOf(const LanguageStats& stats) {
  const EngineStats& engine = stats.engine;
  v1::TierLoad load;
  load.set_running(static_cast<int32_t>(engine.requests_running));
  load.set_waiting(static_cast<int32_t>(engine.requests_waiting));
  load.set_inflight_bytes(stats.inflight_bytes);
  if (engine.passes > 0) {
    load.set_mean_batch_size(static_cast<double>(engine.rows) / static_cast<double>(engine.passes));
  }
  load.set_kv_cache_usage(KvUsage(engine));
  AddCache("projected_tokens", stats.images.queries, stats.images.hits, load);
  AddCache("kv_prefix", engine.prompt_tokens, engine.cached_tokens, load);
  return load;
}

}  // namespace diptych::language
