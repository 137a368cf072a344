// When a request is asked again whose replica was lost, or that found none.
#pragma once

#include <optional>

#include "common/stage_clock.h"

namespace diptych {

// Pure. Thread-compatible. Of one request.
class LossPatience {
 public:
  // Since all replicas were lost, which callers learn within a second: connections that were only cut are made again
  // sooner. Whoever comes later waits for a moment only, in which a replica that has started is found.
  static constexpr SteadyDuration kWithoutReplica = std::chrono::milliseconds(700);

  // An attempt was lost; the time until the next one, which begins before the deadline; nullopt if there is none. With
  // a replica there are kMaxTierAttempts, the second at once; without one, for `down_for` as ReplicaChannels::DownFor
  // says, it is tried again and again until kWithoutReplica is over, at least kMaxTierAttempts in all.
  std::optional<SteadyDuration> OnLoss(SteadyDuration down_for, SteadyTime now, SteadyTime deadline);

  // The attempt that runs brought something; its own loss will not count.
  void OnProgress() {
    lost_ = -1;
    missed_ = 0;
  }

 private:
  int lost_ = 0;    // attempts that had a replica
  int missed_ = 0;  // the others
};

}  // namespace diptych
