// The clock of all that lasts: timeouts, deadlines, pauses, measured times. Nobody can set it. The wall clock, which an
// operator or a time server may set at any moment, is for dates alone (WALL_CLOCK in tests/layering_test.py).
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace diptych {

using SteadyClock = std::chrono::steady_clock;
using SteadyTime = SteadyClock::time_point;
using SteadyDuration = SteadyClock::duration;

inline absl::Duration TimeSince(SteadyTime then, SteadyTime now = SteadyClock::now()) {
  return absl::FromChrono(now - then);
}

inline absl::Duration TimeUntil(SteadyTime then, SteadyTime now = SteadyClock::now()) {
  return absl::FromChrono(then - now);
}

// SteadyTime::max() where the sum is beyond it.
inline SteadyTime Later(SteadyTime time, absl::Duration duration) {
  return duration < TimeUntil(SteadyTime::max(), time) ? time + absl::ToChronoNanoseconds(duration) : SteadyTime::max();
}

inline SteadyTime FromNow(absl::Duration duration) {
  return Later(SteadyClock::now(), duration);
}

}  // namespace diptych
