#include "gateway/gateway_metrics.h"

#include <array>

#include "common/process_metrics.h"

namespace diptych::gateway {
namespace {

// All of them: the answer brings what the tiers measured.
constexpr std::array kStages = {Stage::kGateway,     Stage::kImageDecode,   Stage::kImageResize,   Stage::kVisionQueue,
                                Stage::kVit,         Stage::kTokenTransfer, Stage::kLanguageQueue, Stage::kTokenize,
                                Stage::kQFormer,     Stage::kPrefill,       Stage::kDecode,        Stage::kDetokenize,
                                Stage::kDecodeQueue, Stage::kDelivery,      Stage::kRelevance};
static_assert(kStages.size() == static_cast<size_t>(Stage::kCount));

}  // namespace

GatewayMetrics::GatewayMetrics(MetricRegistry& registry)
    : answers(registry, kStages),
      repeats(registry.AddCounter("diptych_retries_total",
                                  "Calls to a tier that were repeated because a replica failed.",
                                  {{"tier", "language"}})),
      language_reachable(registry.AddGauge("diptych_tier_reachable", "1 while a replica of the tier answers, else 0.",
                                           {{"tier", "language"}})) {
  AddProcessMetrics(registry, "gateway", nullptr);
}

}  // namespace diptych::gateway
