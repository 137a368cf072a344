#include "gateway/admission/token_rate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace diptych::gateway {
namespace {

using SecondsOfRate = std::chrono::duration<double>;

}  // namespace

void TokenRate::Refill(int64_t per_minute, SteadyTime now) {
  const auto most = static_cast<double>(per_minute);
  if (used_) balance_ += SecondsOfRate(now - at_).count() * most / 60;
  balance_ = used_ ? std::min(balance_, most) : most;
  used_ = true;
  at_ = now;
}

SteadyDuration TokenRate::Wait(int64_t per_minute, SteadyTime now) {
  Refill(per_minute, now);
  if (balance_ > 0) return SteadyDuration::zero();
  const double seconds = (1 - balance_) * 60 / static_cast<double>(per_minute);
  return std::chrono::duration_cast<SteadyDuration>(SecondsOfRate(std::min(seconds, 86'400.0)));
}

void TokenRate::Charge(int64_t tokens, int64_t per_minute, SteadyTime now) {
  Refill(per_minute, now);
  balance_ -= static_cast<double>(tokens);
}

bool TokenRate::Full(int64_t per_minute, SteadyTime now) {
  Refill(per_minute, now);
  return balance_ >= static_cast<double>(per_minute);
}

}  // namespace diptych::gateway
