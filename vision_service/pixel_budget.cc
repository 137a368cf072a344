#include "vision_service/pixel_budget.h"

#include <chrono>

namespace diptych::vision {

absl::Status PixelBudget::Take(int64_t pixels, const std::function<absl::Status()>& check) {
  constexpr auto kGlance = std::chrono::milliseconds(20);
  std::unique_lock lock(mutex_);
  const uint64_t turn = next_turn_++;
  turns_.insert(turn);
  const auto free = [&] { return *turns_.begin() == turn && (taken_ == 0 || taken_ + pixels <= pixels_); };
  absl::Status status;
  while (!free() && status.ok()) {
    changed_.wait_for(lock, kGlance);
    status = check();
  }
  turns_.erase(turn);
  if (status.ok()) taken_ += pixels;
  changed_.notify_all();
  return status;
}

void PixelBudget::GiveBack(int64_t pixels) {
  std::lock_guard lock(mutex_);
  taken_ -= pixels;
  changed_.notify_all();
}

}  // namespace diptych::vision
