// When a request is asked again whose replica was lost, or that found none.
#pragma once

#include <optional>

#include "common/stage_clock.h"

namespace diptych {

// Pure. Thread-compatible. Of one request.
class LossPatience {
 public:
  // Of losing all replicas, which callers learn within a second: connections that were only cut are made again sooner.
  static constexpr SteadyDuration kWithoutReplica = std::chrono::milliseconds(700);

  // An attempt was lost; the time until the next one, nullopt if there is none. `connected`: to some replica; then
  // there are kMaxTierAttempts, the second at once. Where there is none, for which nothing is computed, it is tried
  // again for kWithoutReplica, and not past the deadline.
  std::optional<SteadyDuration> OnLoss(bool connected, SteadyTime now, SteadyTime deadline);

  // The attempt that runs brought something; its own loss will not count.
  void OnProgress() {
    lost_ = -1;
    missed_ = 0;
    first_.reset();
  }

 private:
  int lost_ = 0;
  int missed_ = 0;
  std::optional<SteadyTime> first_;
};

}  // namespace diptych
