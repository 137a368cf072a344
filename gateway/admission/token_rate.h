// Tokens a minute, settled after the fact.
#pragma once

#include <cstdint>

#include "common/stage_clock.h"

namespace diptych::gateway {

// A caller's token balance. It starts with a minute's worth and never holds more. What an answer costs is known when
// it has ended, so the balance may fall below zero; until it is positive again nothing new is taken. Thread-compatible.
class TokenRate {
 public:
  // How long a new question has to wait; zero if it need not. Requires: per_minute >= 1.
  SteadyDuration Wait(int64_t per_minute, SteadyTime now);
  void Charge(int64_t tokens, int64_t per_minute, SteadyTime now);
  // True if the state equals that of a new object.
  bool Full(int64_t per_minute, SteadyTime now);

 private:
  void Refill(int64_t per_minute, SteadyTime now);

  bool used_ = false;
  double balance_ = 0;  // tokens
  SteadyTime at_;       // of the balance
};

}  // namespace diptych::gateway
