#include "language_service/engine/engine_inbox.h"

#include <iterator>
#include <utility>

namespace diptych::language {

bool EngineInbox::TryPush(GenerateWork&& work) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || inside_ >= work_limit_) return false;
    ++inside_;
    work_.push_back(std::move(work));
  }
  ready_.notify_one();
  return true;
}

bool EngineInbox::TryPush(Projection&& projection) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || projections_.size() >= projection_limit_) return false;
    projections_.push_back(std::move(projection));
  }
  ready_.notify_one();
  return true;
}

void EngineInbox::Leave() {
  std::lock_guard lock(mutex_);
  --inside_;
}

void EngineInbox::Close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  ready_.notify_all();
}

EngineInbox::Content EngineInbox::Take(std::optional<SteadyDuration> patience) {
  const auto worth_a_look = [this] { return closed_ || !work_.empty() || !projections_.empty(); };
  std::unique_lock lock(mutex_);
  if (patience) {
    ready_.wait_for(lock, *patience, worth_a_look);
  } else {
    ready_.wait(lock, worth_a_look);
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
  std::lock_guard lock(mutex_);
  return inside_;
}

}  // namespace diptych::language
