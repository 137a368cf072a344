// Pixels that may be in decoding at the same time, whatever the number of image workers.
#pragma once

#include <cstdint>
#include <functional>
#include <set>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace diptych::vision {

// Thread-safe.
class PixelBudget {
 public:
  explicit PixelBudget(int64_t pixels) : pixels_(pixels) {}

  // Waits until so many pixels are free and all who asked before have theirs; more than there are is taken alone. The
  // error of `check`, which is asked every few milliseconds, ends the waiting.
  absl::Status Take(int64_t pixels, const std::function<absl::Status()>& check);
  void GiveBack(int64_t pixels);

 private:
  bool MayTake(int64_t pixels, uint64_t turn) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const int64_t pixels_;
  Mutex mutex_;
  CondVar changed_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_turn_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<uint64_t> turns_ ABSL_GUARDED_BY(mutex_);  // of those who wait
};

}  // namespace diptych::vision
