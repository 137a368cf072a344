#include "vision_service/image_queue.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace diptych::vision {

bool ImageQueue::TryPush(std::shared_ptr<EncodeJob> job, int64_t pixels) {
  {
    MutexLock lock(mutex_);
    if (closed_ || waiting_ >= capacity_) return false;
    Size& size = sizes_[std::bit_width(static_cast<uint64_t>(pixels))];
    if (size.waiting.empty()) size.decoded = std::max(size.decoded, last_);
    size.waiting.push_back({std::move(job), pixels});
    ++waiting_;
  }
  changed_.NotifyOne();
  return true;
}

std::optional<ImageQueue::Turn> ImageQueue::Pop() {
  MutexLock lock(mutex_);
  Size* next = nullptr;
  while ((next = Next()) == nullptr) {
    if (closed_ && waiting_ == 0) return std::nullopt;
    changed_.Wait(lock);
  }
  Waiting first = TakeFirst(*next);
  return std::optional<Turn>(std::in_place, this, std::move(first.job), first.pixels);
}

// An image that waits for pixels lets only those pass that do not take what it waits for.
ImageQueue::Size* ImageQueue::Next() {
  Size* const next = Least([](int64_t) { return true; });
  if (next == nullptr || MayDecode(next->waiting.front().pixels)) return next;
  const bool small_waits = IsSmall(next->waiting.front().pixels);
  Size* const other = Least([&](int64_t pixels) { return IsSmall(pixels) != small_waits; });
  return other != nullptr && MayDecode(other->waiting.front().pixels) ? other : nullptr;
}

template <typename Condition>
ImageQueue::Size* ImageQueue::Least(Condition condition) {
  Size* least = nullptr;
  for (auto& [bits, size] : sizes_) {
    if (size.waiting.empty() || !condition(size.waiting.front().pixels)) continue;
    if (least == nullptr || size.decoded < least->decoded) least = &size;
  }
  return least;
}

bool ImageQueue::MayDecode(int64_t pixels) const {
  const int64_t decoding = decoding_[IsSmall(pixels)];
  return decoding == 0 || decoding + pixels <= pixels_;
}

ImageQueue::Waiting ImageQueue::TakeFirst(Size& size) {
  Waiting first = std::move(size.waiting.front());
  size.waiting.pop_front();
  --waiting_;
  last_ = std::max(last_, size.decoded);
  size.decoded += first.pixels;
  decoding_[IsSmall(first.pixels)] += first.pixels;
  return first;
}

void ImageQueue::GiveBack(int64_t pixels) {
  {
    MutexLock lock(mutex_);
    decoding_[IsSmall(pixels)] -= pixels;
  }
  changed_.NotifyAll();
}

void ImageQueue::Remove(const EncodeJob& job) {
  {
    MutexLock lock(mutex_);
    for (auto& [bits, size] : sizes_) {
      waiting_ -= std::erase_if(size.waiting, [&](const Waiting& each) { return each.job.get() == &job; });
    }
  }
  changed_.NotifyAll();  // another one may be next
}

void ImageQueue::Close() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  changed_.NotifyAll();
}

size_t ImageQueue::size() const {
  MutexLock lock(mutex_);
  return waiting_;
}

}  // namespace diptych::vision
