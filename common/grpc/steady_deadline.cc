#include "common/grpc/steady_deadline.h"

namespace diptych {

// On Linux both clocks are CLOCK_MONOTONIC, with the same zero.
gpr_timespec ToGrpcTime(SteadyTime time) {
  if (time == SteadyTime::max()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {.tv_sec = seconds.time_since_epoch().count(),
          .tv_nsec = static_cast<int32_t>(std::chrono::nanoseconds(time - seconds).count()),
          .clock_type = GPR_CLOCK_MONOTONIC};
}

SteadyTime FromGrpcTime(gpr_timespec time) {
  const gpr_timespec at = gpr_convert_clock_type(time, GPR_CLOCK_MONOTONIC);
  constexpr auto kLast = std::chrono::floor<std::chrono::seconds>(SteadyTime::max()).time_since_epoch();
  if (at.tv_sec >= kLast.count()) return SteadyTime::max();
  return SteadyTime(std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec));
}

}  // namespace diptych
