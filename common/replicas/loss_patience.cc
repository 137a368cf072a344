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

std::optional<SteadyDuration> LossPatience::OnLoss(SteadyDuration down_for, SteadyTime now, SteadyTime deadline) {
  const bool connected = down_for == SteadyDuration::zero();
  if (connected && ++lost_ >= kMaxTierAttempts) return std::nullopt;
  if (connected) return lost_ + 1 < kMaxTierAttempts ? SteadyDuration() : kPauseAfterLosses;
  const SteadyDuration pause = std::min(kFirstPause * (1 << std::min(missed_, 10)), kLongestPause);
  const bool may_be_back = ++missed_ < kMaxTierAttempts || down_for + pause < kWithoutReplica;
  return may_be_back && now + pause < deadline ? std::optional(pause) : std::nullopt;
}

}  // namespace diptych
