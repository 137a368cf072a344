// Lets gRPC take deadlines and alarms by the steady clock: set_deadline(SteadyClock::now() + kPatience). Given by the
// wall clock, one is converted when the call begins, and is wrong by as much as that clock was set in between.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/support/time.h>

#include "common/steady_clock.h"

namespace diptych {

// SteadyTime::max() is never.
gpr_timespec ToGrpcTime(SteadyTime time);
SteadyTime FromGrpcTime(gpr_timespec time);

}  // namespace diptych

template <>
class grpc::TimePoint<diptych::SteadyTime> {
 public:
  explicit TimePoint(diptych::SteadyTime time) : time_(time) {}
  gpr_timespec raw_time() const { return diptych::ToGrpcTime(time_); }

 private:
  const diptych::SteadyTime time_;
};
