// Chooses the caller whose images are fetched next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/mutex.h"

namespace diptych::gateway {

// Bounded, and fair between callers: a slow server that one of them knows holds up none of the others. Thread-safe.
template <typename Item>
class FetchQueue {
 public:
  struct Turn {
    std::string caller;
    Item item;
  };

  // At most `waiting` items, half of them of one caller; at most `most_running` of one caller are out at a time.
  // Callers without a name are one caller, who may have all.
  FetchQueue(size_t waiting, int most_running) : waiting_(waiting), most_running_(most_running) {}

  // False if there is no room.
  bool TryPush(const std::string& caller, Item item) {
    MutexLock lock(mutex_);
    Line& line = lines_[caller];
    const bool room = count_ < waiting_ && (caller.empty() || line.items.size() < std::max<size_t>(waiting_ / 2, 1));
    if (room && !closed_) {
      ++count_;
      line.items.emplace_back(++last_, std::move(item));
      ready_.NotifyOne();
      return true;
    }
    Forget(caller);
    return false;
  }

  // Waits for the item of the caller who has the fewest out; of several the one that has waited longest. Each is
  // followed by Done. Empty once the queue is closed.
  std::optional<Turn> Pop() {
    MutexLock lock(mutex_);
    auto next = lines_.end();
    while (!closed_ && (next = Next()) == lines_.end()) ready_.Wait(lock);
    if (closed_) return std::nullopt;
    Turn turn{next->first, std::move(next->second.items.front().second)};
    next->second.items.pop_front();
    ++next->second.running;
    --count_;
    return turn;
  }
  void Done(const std::string& caller) {
    MutexLock lock(mutex_);
    --lines_[caller].running;
    Forget(caller);
    ready_.NotifyOne();
  }

  void Remove(const std::string& caller, const Item& item) {
    MutexLock lock(mutex_);
    const auto found = lines_.find(caller);
    if (found == lines_.end()) return;
    count_ -= std::erase_if(found->second.items, [&](const auto& waiting) { return waiting.second == item; });
    Forget(caller);
  }

  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
    ready_.NotifyAll();
  }

 private:
  struct Line {
    std::deque<std::pair<uint64_t, Item>> items;  // with their places in the order of arrival
    int running = 0;
  };
  using Lines = std::map<std::string, Line>;

  typename Lines::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto best = lines_.end();
    for (auto line = lines_.begin(); line != lines_.end(); ++line) {
      if (line->second.items.empty()) continue;
      if (!line->first.empty() && line->second.running >= most_running_) continue;
      if (best == lines_.end() || Rank(line->second) < Rank(best->second)) best = line;
    }
    return best;
  }
  static std::pair<int, uint64_t> Rank(const Line& line) { return {line.running, line.items.front().first}; }

  void Forget(const std::string& caller) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto line = lines_.find(caller);
    if (line != lines_.end() && line->second.items.empty() && line->second.running == 0) lines_.erase(line);
  }

  const size_t waiting_;
  const int most_running_;
  Mutex mutex_;
  CondVar ready_;
  Lines lines_ ABSL_GUARDED_BY(mutex_);
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::gateway
