#pragma once

namespace diptych::testing {

// For behaviour that begins when a server hears that its caller has gone, which no test can see: true if `attempt`, a
// function without arguments that returns bool, succeeds once. Broken behaviour never does.
template <typename Attempt>
bool SucceedsOnce(Attempt attempt) {
  constexpr int kAttempts = 30;
  for (int i = 0; i < kAttempts; ++i) {
    if (attempt()) return true;
  }
  return false;
}

}  // namespace diptych::testing
