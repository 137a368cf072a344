// Decides when to log that a peer cannot be reached.
#pragma once

#include <optional>

#include "common/stage_clock.h"

namespace diptych {

// Pure. Thread-compatible.
class Reachability {
 public:
  enum class Say { kNothing, kUnreachable, kStillUnreachable, kReachable };

  // How long a connection that is being made counts as neither.
  static constexpr SteadyDuration kGrace = std::chrono::seconds(1);
  static constexpr SteadyDuration kInterval = std::chrono::seconds(30);

  enum class State { kReachable, kConnecting, kUnreachable };

  // What to say now that the peer is seen in `state`: kUnreachable at once when it cannot be reached, kStillUnreachable
  // every kInterval from then on, kReachable when it is there, at first and again after each kUnreachable.
  Say Observe(State state, SteadyTime now);

 private:
  std::optional<bool> reachable_;         // as it was last said
  std::optional<SteadyTime> connecting_;  // since when, if that is what it does
  SteadyTime said_{};
};

}  // namespace diptych
