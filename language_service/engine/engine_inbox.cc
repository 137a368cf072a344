#include "language_service/engine/engine_inbox.h"

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

EngineInbox::Content EngineInbox::Take(std::optional<SteadyDuration> patience) {
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
  if (!projections_.empty()) {
    content.projection = std::move(projections_.front());
    projections_.pop_front();
  }
  return content;
}

size_t EngineInbox::inside() const {
  MutexLock lock(mutex_);
  return inside_;
}

}  // namespace diptych::language
