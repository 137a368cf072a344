// A mutex whose use Clang checks while it compiles (-Wthread-safety): a member with ABSL_GUARDED_BY is touched, and a
// function with ABSL_EXCLUSIVE_LOCKS_REQUIRED is called, only under the lock. GCC ignores the annotations.
#pragma once

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "common/steady_clock.h"

namespace diptych {

// A std::mutex. Not recursive.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex until the end of the block; may release it and take it again before. Confined to one thread.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() ABSL_UNLOCK_FUNCTION() = default;

  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.lock(); }

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

// A std::condition_variable. Wait in a loop that tests the condition: a wait may end without a notification, and Clang
// sees the lock there, but not in a lambda. Thread-safe.
class CondVar {
 public:
  void Wait(MutexLock& lock) { changed_.wait(lock.lock_); }

  // False once `time` is reached.
  bool WaitUntil(MutexLock& lock, SteadyTime time) {
    return changed_.wait_until(lock.lock_, time) == std::cv_status::no_timeout;
  }

  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace diptych
