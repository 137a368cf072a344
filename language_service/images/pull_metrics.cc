#include "language_service/images/pull_metrics.h"

namespace diptych::language {
namespace {

constexpr std::array kFaultNames = {"none",  "order",    "model", "shape",      "dtype",
                                    "image", "checksum", "size",  "not_finite", "scale"};
static_assert(kFaultNames.size() == static_cast<size_t>(TokenFault::kCount));

}  // namespace

PullMetrics::PullMetrics(MetricRegistry& registry)
    : repeats(registry.AddCounter("diptych_retries_total",
                                  "Calls to a tier that were repeated because a replica failed.",
                                  {{"tier", "vision"}})),
      visual_tokens(
          registry.AddCounter("diptych_visual_tokens_total", "Visual tokens that came from the vision tier.")) {
  for (size_t i = 1; i < kFaultNames.size(); ++i) {
    faults_[i] = registry.AddCounter("diptych_vision_protocol_errors_total",
                                     "Streams of visual tokens that were refused, by what was wrong with them.",
                                     {{"reason", kFaultNames[i]}});
  }
}

void PullMetrics::Refused(TokenFault fault) {
  if (auto& counter = faults_[static_cast<size_t>(fault)]) counter->Add();
}

}  // namespace diptych::language
