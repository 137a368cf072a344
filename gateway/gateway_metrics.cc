#include "gateway/gateway_metrics.h"

#include <array>
#include <string>

#include "common/metrics/process_metrics.h"

namespace diptych::gateway {
namespace {

// All of them: the answer brings what the tiers measured.
constexpr std::array kStages = {Stage::kGateway,     Stage::kImageDecode,   Stage::kImageResize,   Stage::kVisionQueue,
                                Stage::kVit,         Stage::kTokenTransfer, Stage::kLanguageQueue, Stage::kTokenize,
                                Stage::kQFormer,     Stage::kPrefill,       Stage::kDecode,        Stage::kDetokenize,
                                Stage::kDecodeQueue, Stage::kDelivery,      Stage::kRelevance};
static_assert(kStages.size() == static_cast<size_t>(Stage::kCount));

// Of requests that become no RPC; 499: their callers left before all was sent.
constexpr std::array kRefusals = {400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 499, 500, 503};

}  // namespace

GatewayMetrics::GatewayMetrics(MetricRegistry& registry)
    : answers(registry, kStages),
      repeats(registry.AddCounter("diptych_retries_total",
                                  "Calls to a tier that were repeated because a replica failed.",
                                  {{"tier", "language"}})),
      language_reachable(registry.AddGauge("diptych_tier_reachable", "1 while a replica of the tier answers, else 0.",
                                           {{"tier", "language"}})) {
  for (const int status : kRefusals) {
    http_refused.emplace(status, registry.AddCounter("diptych_http_refused_total",
                                                     "HTTP requests that failed without becoming an RPC, by status.",
                                                     {{"status", std::to_string(status)}}));
  }
  AddProcessMetrics(registry, "gateway", nullptr);
}

void GatewayMetrics::HttpRefused(int status) {
  if (const auto counter = http_refused.find(status); counter != http_refused.end()) counter->second.Add();
}

}  // namespace diptych::gateway
