#include "gateway/tiers/retry_budget.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/logging/log.h"

namespace diptych::gateway {
namespace {

constexpr double kShare = 0.2;
constexpr double kEachSecond = 1;
constexpr std::chrono::seconds kBetweenLines(30);

}  // namespace

void RetryBudget::Refill(SteadyTime now, double more) {
  const SteadyTime last = std::exchange(last_, now);
  if (last != SteadyTime()) more += kEachSecond * std::chrono::duration<double>(now - last).count();
  left_ = std::clamp(left_ + more, 0.0, reserve_);
}

void RetryBudget::OnRequest(SteadyTime now) {
  MutexLock lock(mutex_);
  Refill(now, kShare);
}

bool RetryBudget::TryRepeat(SteadyTime now) {
  MutexLock lock(mutex_);
  Refill(now, 0);
  if (left_ >= 1) return --left_, true;
  if (told_ == SteadyTime::min() || now - told_ >= kBetweenLines) {
    told_ = now;
    spdlog::warn(
        "requests to the tiers fail or are refused so often that they are not repeated; each ends with what its "
        "replica said");
  }
  return false;
}

double RetryBudget::left(SteadyTime now) {
  MutexLock lock(mutex_);
  Refill(now, 0);
  return left_;
}

std::optional<SteadyDuration> PauseAfterLoss(LossPatience& patience, ReplicaChannels& replicas, RetryBudget& budget,
                                             SteadyTime deadline) {
  const SteadyTime now = SteadyClock::now();
  const SteadyDuration down_for = replicas.DownFor(now);
  const auto pause = patience.OnLoss(down_for, now, deadline);
  const bool is_asked = down_for == SteadyDuration::zero();
  return pause && is_asked && !budget.TryRepeat(now) ? std::nullopt : pause;
}

}  // namespace diptych::gateway
