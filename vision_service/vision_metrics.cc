#include "vision_service/vision_metrics.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "common/metrics/process_metrics.h"

namespace diptych::vision {
namespace {

constexpr std::chrono::seconds kBusyWindow(10);
constexpr std::chrono::milliseconds kBusySampleDistance(100);

constexpr std::array kVisionStages = {Stage::kImageDecode, Stage::kImageResize, Stage::kVisionQueue, Stage::kVit};

}  // namespace

double BusyRatio::At(SteadyTime now, SteadyDuration busy) {
  while (samples_.size() > 1 && now - samples_[1].first >= kBusyWindow) samples_.pop_front();
  const auto [since, busy_then] = samples_.front();
  if (now - samples_.back().first >= kBusySampleDistance) samples_.emplace_back(now, busy);
  const double elapsed = ToSeconds(now - since);
  return elapsed > 0 ? std::clamp(ToSeconds(busy - busy_then) / elapsed, 0.0, 1.0) : 0;
}

VisionMetrics::VisionMetrics(MetricRegistry& registry, const v1::ModelDescription& model)
    : calls_(registry),
      stages_(registry, kVisionStages),
      running_(registry.AddGauge("diptych_requests_running", "Images that are being decoded or encoded.")),
      waiting_(registry.AddGauge("diptych_requests_waiting", "Images that wait for an image worker or the engine.")),
      inflight_bytes_(registry.AddGauge("diptych_inflight_bytes", "Memory set aside for the requests in flight.")),
      busy_ratio_(registry.AddGauge("diptych_vision_busy_ratio",
                                    "Share of the last ten seconds that the vision transformer ran.")),
      visual_tokens_(registry.AddCounter("diptych_visual_tokens_total", "Visual tokens that were computed.")),
      batch_size_(registry.AddHistogram("diptych_batch_size", "Images in a pass of the vision transformer.",
                                        BatchSizeBuckets(), {{"tier", "vision"}})),
      cache_(registry, "vision_tokens"),
      busy_(SteadyClock::now()) {
  AddProcessMetrics(registry, "vision", &model);
}

void VisionMetrics::Ended(const absl::Status& status, const EncodeTimings* timings, SteadyDuration took,
                          std::string_view trace_id) {
  calls_.Ended(status, v1::FINISH_REASON_UNSPECIFIED, took, trace_id);
  if (timings == nullptr) return;
  stages_.Observe(Stage::kImageDecode, timings->image_decode, trace_id);
  stages_.Observe(Stage::kImageResize, timings->image_resize, trace_id);
  stages_.Observe(Stage::kVisionQueue, timings->queue, trace_id);
  stages_.Observe(Stage::kVit, timings->vit, trace_id);
}

void VisionMetrics::Refresh(const VisionStats& stats, SteadyTime now) {
  running_.Set(stats.images_decoding + stats.images_running);
  waiting_.Set(stats.images_waiting);
  inflight_bytes_.Set(static_cast<double>(stats.inflight_bytes));
  busy_ratio_.Set(busy_.At(now, stats.busy));
  visual_tokens_.RaiseTo(static_cast<double>(stats.visual_tokens));
  batch_size_.RaiseTo(stats.passes_by_batch_size, static_cast<double>(stats.encoded_images));
  cache_.Refresh({.queries = stats.cache_queries, .hits = stats.cache_hits, .bytes = stats.cache_bytes});
}

v1::TierLoad LoadOf(const VisionStats& stats) {
  v1::TierLoad load;
  load.set_running(stats.images_decoding + stats.images_running);
  load.set_waiting(stats.images_waiting);
  load.set_inflight_bytes(stats.inflight_bytes);
  if (stats.passes > 0) {
    load.set_mean_batch_size(static_cast<double>(stats.encoded_images) / static_cast<double>(stats.passes));
  }
  v1::CacheLoad& cache = *load.add_caches();
  cache.set_name("vision_tokens");
  cache.set_queries(stats.cache_queries);
  cache.set_hits(stats.cache_hits);
  return load;
}

}  // namespace diptych::vision
