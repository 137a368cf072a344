#include "vision_service/pixel_budget.h"

#include <chrono>

namespace diptych::vision {

absl::Status PixelBudget::Take(int64_t pixels, const std::function<absl::Status()>& check) {
  constexpr auto kGlance = std::chrono::milliseconds(20);
  MutexLock lock(mutex_);
  const uint64_t turn = next_turn_++;
  turns_.insert(turn);
  absl::Status status;
  while (!MayTake(pixels, turn) && status.ok()) {
    changed_.WaitUntil(lock, std::chrono::steady_clock::now() + kGlance);
    status = check();
  }
  turns_.erase(turn);
  if (status.ok()) taken_ += pixels;
  changed_.NotifyAll();
  return status;
}

bool PixelBudget::MayTake(int64_t pixels, uint64_t turn) const {
  return *turns_.begin() == turn && (taken_ == 0 || taken_ + pixels <= pixels_);
}

void PixelBudget::GiveBack(int64_t pixels) {
  MutexLock lock(mutex_);
  taken_ -= pixels;
  changed_.NotifyAll();
}

}  // namespace diptych::vision
