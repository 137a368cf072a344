// The images that wait for an image worker, and whose turn it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/mutex.h"
#include "vision_service/encode_job.h"

namespace diptych::vision {

// Callers get the same share of the workers' pixels, and of each caller's share images of each size, from one power of
// two of pixels to the next, so that many of the largest hold up nothing else for long; those of a caller and a size
// take their turns in the order in which they came. Thread-safe.
class ImageQueue {
 public:
  // `capacity` images may wait. Those in decoding have at most `pixels`, or one of them has more; small ones, of a
  // sixteenth and less, are counted by themselves, so that they need not wait for the pixels of large ones.
  ImageQueue(size_t capacity, int64_t pixels) : capacity_(capacity), pixels_(pixels) {}

  // False when the queue is full or closed. Never waits.
  bool TryPush(std::shared_ptr<EncodeJob> job, int64_t pixels);

  // A job and its pixels, which are given back when it is destroyed, before the queue is. Movable.
  class Turn {
   public:
    Turn(ImageQueue* queue, std::shared_ptr<EncodeJob> job, int64_t pixels)
        : job(std::move(job)), queue_(queue), pixels_(pixels) {}
    Turn(Turn&& other) noexcept
        : job(std::move(other.job)), queue_(std::exchange(other.queue_, nullptr)), pixels_(other.pixels_) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (queue_ != nullptr) queue_->GiveBack(pixels_);
    }

    std::shared_ptr<EncodeJob> job;

   private:
    ImageQueue* queue_;
    const int64_t pixels_;
  };
  // Waits for a job that may be decoded now. Nullopt once the queue is closed and empty.
  std::optional<Turn> Pop();

  // Drops `job` if it waits here.
  void Remove(const EncodeJob& job);
  // Refuses further jobs; those inside are still popped. Idempotent.
  void Close();
  size_t size() const;

 private:
  struct Waiting {
    std::shared_ptr<EncodeJob> job;
    int64_t pixels;
  };
  struct Size {
    std::deque<Waiting> waiting;
    int64_t decoded = 0;  // pixels; a pause earns no credit
  };
  struct Line {
    std::map<int, Size> sizes;  // by the bits of the number of pixels
    size_t waiting = 0;         // jobs
    int64_t decoded = 0;        // as Size::decoded
    int64_t last = 0;           // what the size had decoded whose turn it was last
  };
  struct First {
    Line* line = nullptr;
    Size* size = nullptr;  // null for none
    int64_t pixels() const { return size->waiting.front().pixels; }
  };

  bool IsSmall(int64_t pixels) const { return pixels <= pixels_ / 16; }
  bool MayDecode(int64_t pixels) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The caller whose turn it is: none if nothing may be decoded now.
  First Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of the images for which `condition` holds, that of the caller, and of its sizes the one, that has decoded least.
  template <typename Condition>
  First Least(Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Condition>
  static Size* LeastOf(Line& line, Condition condition);
  Waiting Take(First first) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Those that have nothing here and would come after whose turn it is.
  void ForgetCallers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(int64_t pixels);

  const size_t capacity_;
  const int64_t pixels_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::map<std::string, Line> lines_ ABSL_GUARDED_BY(mutex_);  // by EncodeJob::caller
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;                 // jobs
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;                   // what the caller had decoded whose turn it was last
  int64_t decoding_[2] ABSL_GUARDED_BY(mutex_) = {0, 0};       // pixels of large and of small images
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::vision
