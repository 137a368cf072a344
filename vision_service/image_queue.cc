#include "vision_service/image_queue.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace diptych::vision {
namespace {

// Names come with calls, so what is remembered of them is bounded.
constexpr size_t kMostCallers = 1024;

}  // namespace

bool ImageQueue::TryPush(std::shared_ptr<EncodeJob> job, int64_t pixels) {
  {
    MutexLock lock(mutex_);
    if (closed_ || waiting_ >= capacity_) return false;
    Line& line = lines_[job->caller];
    if (line.waiting == 0) line.decoded = std::max(line.decoded, last_);
    Size& size = line.sizes[std::bit_width(static_cast<uint64_t>(pixels))];
    if (size.waiting.empty()) size.decoded = std::max(size.decoded, line.last);
    size.waiting.push_back({std::move(job), pixels});
    ++line.waiting;
    ++waiting_;
  }
  changed_.NotifyOne();
  return true;
}

std::optional<ImageQueue::Turn> ImageQueue::Pop() {
  MutexLock lock(mutex_);
  First next;
  while ((next = Next()).size == nullptr) {
    if (closed_ && waiting_ == 0) return std::nullopt;
    changed_.Wait(lock);
  }
  Waiting first = Take(next);
  return std::optional<Turn>(std::in_place, this, std::move(first.job), first.pixels);
}

// An image that waits for pixels lets only those pass that do not take what it waits for.
ImageQueue::First ImageQueue::Next() {
  const First next = Least([](int64_t) { return true; });
  if (next.size == nullptr || MayDecode(next.pixels())) return next;
  const bool small_waits = IsSmall(next.pixels());
  const First other = Least([&](int64_t pixels) { return IsSmall(pixels) != small_waits; });
  return other.size != nullptr && MayDecode(other.pixels()) ? other : First();
}

template <typename Condition>
ImageQueue::First ImageQueue::Least(Condition condition) {
  First least;
  for (auto& [caller, line] : lines_) {
    if (least.line != nullptr && line.decoded >= least.line->decoded) continue;
    if (Size* const size = LeastOf(line, condition); size != nullptr) least = {.line = &line, .size = size};
  }
  return least;
}

template <typename Condition>
ImageQueue::Size* ImageQueue::LeastOf(Line& line, Condition condition) {
  Size* least = nullptr;
  for (auto& [bits, size] : line.sizes) {
    if (size.waiting.empty() || !condition(size.waiting.front().pixels)) continue;
    if (least == nullptr || size.decoded < least->decoded) least = &size;
  }
  return least;
}

bool ImageQueue::MayDecode(int64_t pixels) const {
  const int64_t decoding = decoding_[IsSmall(pixels)];
  return decoding == 0 || decoding + pixels <= pixels_;
}

ImageQueue::Waiting ImageQueue::Take(First first) {
  auto& [line, size] = first;
  Waiting taken = std::move(size->waiting.front());
  size->waiting.pop_front();
  --line->waiting;
  --waiting_;
  last_ = std::max(last_, line->decoded);
  line->last = std::max(line->last, size->decoded);
  line->decoded += taken.pixels;
  size->decoded += taken.pixels;
  decoding_[IsSmall(taken.pixels)] += taken.pixels;
  ForgetCallers();
  return taken;
}

void ImageQueue::ForgetCallers() {
  const int64_t last = lines_.size() > kMostCallers ? -1 : last_;
  std::erase_if(lines_, [last](const auto& each) {
    return each.second.waiting == 0 && (last < 0 || each.second.decoded <= last);
  });
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
    for (auto& [caller, line] : lines_) {
      for (auto& [bits, size] : line.sizes) {
        const size_t count = std::erase_if(size.waiting, [&](const Waiting& each) { return each.job.get() == &job; });
        line.waiting -= count;
        waiting_ -= count;
      }
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
