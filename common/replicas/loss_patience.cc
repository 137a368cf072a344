#include "common/replicas/loss_patience.h"

#include <algorithm>

#include "common/replicas/tier_errors.h"

namespace diptych {
namespace {

// Before the last attempt: the connections of all replicas may have been cut one soon after the other.
constexpr SteadyDuration kPauseAfterLosses = std::chrono::milliseconds(250);
// Where there is no replica.
constexpr SteadyDuration kFirstPause = std::chrono::milliseconds(50);
constexpr SteadyDuration kLongestPause = std::chrono::milliseconds(100);

}  // namespace

std::optional<SteadyDuration> LossPatience::OnLoss(bool connected, SteadyTime now, SteadyTime deadline) {
  if (!first_) first_ = now;
  if (connected && ++lost_ >= kMaxTierAttempts) return std::nullopt;
  if (connected) return lost_ + 1 < kMaxTierAttempts ? SteadyDuration() : kPauseAfterLosses;
  const SteadyDuration pause = std::min(kFirstPause * (1 << std::min(missed_++, 10)), kLongestPause);
  return now + pause < std::min(*first_ + kWithoutReplica, deadline) ? std::optional(pause) : std::nullopt;
}

}  // namespace diptych
