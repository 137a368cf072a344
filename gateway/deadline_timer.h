// Runs a function at a given time, unless it is cancelled first.
#pragma once

#include <grpcpp/alarm.h>

#include <functional>
#include <utility>

#include "common/grpc/steady_deadline.h"
#include "common/stage_clock.h"

namespace diptych::gateway {

// Calls `passed` on one of gRPC's threads at `deadline`, if it has not been destroyed before. It may be destroyed while
// `passed` runs, also in it; so `passed` may not hold references that end with its owner.
class DeadlineTimer {
 public:
  DeadlineTimer(SteadyTime deadline, std::function<void()> passed) {
    alarm_.Set(deadline, [passed = std::move(passed)](bool in_time) {
      if (in_time) passed();
    });
  }

 private:
  grpc::Alarm alarm_;
};

}  // namespace diptych::gateway
