// A counter on standard error for slow commands.
#pragma once

#include <cstddef>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/steady_clock.h"

namespace diptych::cli {

// Nothing for the first two seconds; then "3 of 12 answered, 14 s". A terminal shows one line that changes every
// second; anywhere else a line is written every ten seconds; with `json`, an object {"progress": {…}} instead of the
// words. Thread-safe.
class Progress {
 public:
  // `what` is how a step ends: "answered", "measured". With `total` 0 only the time is counted.
  Progress(std::string what, size_t total, bool json);
  // Leaves no trace on a terminal.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Step();
  // "3 of 12 answered". Takes the line away, for it is printed where a command ends.
  std::string Text();
  // Takes the line away for as long as `print` runs, so that it may print.
  template <typename Print>
  void Around(Print&& print) {
    MutexLock lock(mutex_);
    Erase();
    print();
  }

 private:
  std::string Count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  // False once the work has ended.
  bool Rest(MutexLock& lock, absl::Duration duration) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Show() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string what_;
  const size_t total_;
  const bool json_, terminal_;
  const SteadyTime begin_;
  Mutex mutex_;
  CondVar ended_;
  size_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  bool end_ ABSL_GUARDED_BY(mutex_) = false;
  bool shown_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych::cli
