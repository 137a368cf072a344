#include "common/replicas/reachability.h"

namespace diptych {

Reachability::Say Reachability::Observe(State state, SteadyTime now) {
  if (state == State::kReachable) {
    connecting_.reset();
    if (reachable_ == true) return Say::kNothing;
    reachable_ = true;
    return Say::kReachable;
  }
  if (state == State::kConnecting && reachable_ != false) {
    if (!connecting_) connecting_ = now;
    if (now - *connecting_ < kGrace) return Say::kNothing;
  }
  if (reachable_ != false) {
    reachable_ = false;
    said_ = now;
    return Say::kUnreachable;
  }
  if (now - said_ < kInterval) return Say::kNothing;
  said_ = now;
  return Say::kStillUnreachable;
}

}  // namespace diptych
