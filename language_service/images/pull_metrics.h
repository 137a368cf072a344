// The metrics of the language service's calls to the vision tier. Names, labels and meanings: docs/metrics.md.
#pragma once

#include <array>
#include <optional>

#include "common/metrics/metrics.h"
#include "language_service/images/visual_tokens_receiver.h"

namespace diptych::language {

// Thread-safe.
struct PullMetrics {
  explicit PullMetrics(MetricRegistry& registry);

  // A stream was refused. kNone counts nothing.
  void Refused(TokenFault fault);

  Counter repeats;        // of EncodeImage, on another vision replica
  Counter visual_tokens;  // that arrived whole

 private:
  std::array<std::optional<Counter>, static_cast<size_t>(TokenFault::kCount)> faults_;
};

}  // namespace diptych::language
