// How many of its calls to the tiers the gateway may repeat.
#pragma once

#include <optional>

#include "common/mutex.h"
#include "common/replicas/loss_patience.h"
#include "common/replicas/replica_channels.h"
#include "common/stage_clock.h"

namespace diptych::gateway {

// Of every five requests one may be repeated, and beyond that as many as are in flight at most, so that all that a lost
// replica held goes on elsewhere, while a tier that refuses or fails for long is not asked three times as much.
// Thread-safe.
class RetryBudget {
 public:
  // `reserve`: repeats beyond the share, which come back with the requests that follow, and one a second.
  explicit RetryBudget(int reserve) : reserve_(reserve), left_(reserve) {}

  void OnRequest(SteadyTime now);
  // Takes one repeat; false if none is left.
  bool TryRepeat(SteadyTime now);
  // Repeats that are left.
  double left(SteadyTime now);

 private:
  void Refill(SteadyTime now, double more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const double reserve_;
  Mutex mutex_;
  double left_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_ ABSL_GUARDED_BY(mutex_){};
  SteadyTime told_ ABSL_GUARDED_BY(mutex_) = SteadyTime::min();  // when it was logged that none is left
};

// When a call that was lost is made again, if it is: `patience` decides, and `budget` pays where a replica is asked.
std::optional<SteadyDuration> PauseAfterLoss(LossPatience& patience, ReplicaChannels& replicas, RetryBudget& budget,
                                             SteadyTime deadline);

}  // namespace diptych::gateway
