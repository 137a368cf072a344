#include "language_service/engine/engine_inbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace diptych::language {

bool EngineInbox::TryPush(GenerateWork&& work) {
  {
    MutexLock lock(mutex_);
    if (closed_ || inside_ >= work_limit_) return false;
    ++inside_;
    work_.push_back(std::move(work));
  }
  ready_.NotifyOne();
  return true;
}

bool EngineInbox::TryPush(Projection&& projection) {
  {
    MutexLock lock(mutex_);
    if (closed_ || projections_.size() >= projection_limit_) return false;
    projections_.push_back(std::move(projection));
  }
  ready_.NotifyOne();
  return true;
}

void EngineInbox::Release() {
  MutexLock lock(mutex_);
  --inside_;
}

void EngineInbox::Close() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  ready_.NotifyAll();
}

EngineInbox::Content EngineInbox::Take(std::optional<SteadyDuration> patience, size_t images) {
  const SteadyTime begin = SteadyClock::now();
  MutexLock lock(mutex_);
  while (!closed_ && work_.empty() && projections_.empty()) {
    if (!patience) {
      ready_.Wait(lock);
    } else if (!ready_.WaitUntil(lock, begin + *patience)) {
      break;
    }
  }
  Content content{.closed = closed_};
  content.work.assign(std::make_move_iterator(work_.begin()), std::make_move_iterator(work_.end()));
  work_.clear();
  const auto end = projections_.begin() + static_cast<std::ptrdiff_t>(std::min(images, projections_.size()));
  content.projections.assign(std::make_move_iterator(projections_.begin()), std::make_move_iterator(end));
  projections_.erase(projections_.begin(), end);
  return content;
}

size_t EngineInbox::inside() const {
  MutexLock lock(mutex_);
  return inside_;
}

}  // namespace diptych::language
