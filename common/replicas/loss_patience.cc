#include "common/replicas/loss_patience.h"

#include "common/replicas/tier_errors.h"

namespace diptych {
namespace {

// Before the last attempt: the connections of all replicas may have been cut one soon after the other.
constexpr SteadyDuration kPauseAfterLosses = std::chrono::milliseconds(250);
// Where there is no replica.
constexpr SteadyDuration kFirstPause = std::chrono::milliseconds(50);
constexpr SteadyDuration kNextPause = std::chrono::milliseconds(100);

}  // namespace

std::optional<SteadyDuration> LossPatience::OnLoss(SteadyDuration down_for, SteadyTime now, SteadyTime deadline) {
  SteadyDuration pause{};
  if (down_for == SteadyDuration::zero()) {
    if (++lost_ >= kMaxTierAttempts) return std::nullopt;
    if (lost_ + 1 == kMaxTierAttempts) pause = kPauseAfterLosses;
  } else {
    pause = missed_ == 0 ? kFirstPause : kNextPause;
    if (++missed_ >= kMaxTierAttempts && down_for + pause >= kWithoutReplica) return std::nullopt;
  }
  return now + pause < deadline ? std::optional(pause) : std::nullopt;
}

}  // namespace diptych
