// How far a pull is.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "common/steady_clock.h"

namespace diptych::cli {

// The bytes of a second, from what came in the last seconds. Thread-compatible.
class Rate {
 public:
  void Add(SteadyTime now, int64_t bytes);
  // 0 if that is not known yet.
  double BytesPerSecond() const;

 private:
  struct Sample {
    SteadyTime when;
    int64_t bytes;
  };
  std::deque<Sample> samples_;
};

// "[#######-------]  42 %  1.2 of 5.5 GB  84 MB/s  51 s left"
std::string ProgressText(int64_t done, int64_t total, double bytes_per_second);

// Shows it on standard error: on a terminal one line that changes, elsewhere a line at the beginning and every ten
// seconds, by `say`; with `json` an object {"progress": {…}} in place of the words. Thread-compatible.
class PullProgress {
 public:
  PullProgress(int64_t total, bool json, std::function<void(const std::string&)> say);
  // Leaves no trace on a terminal.
  ~PullProgress();
  PullProgress(const PullProgress&) = delete;
  PullProgress& operator=(const PullProgress&) = delete;

  void Show(int64_t done);

 private:
  const int64_t total_;
  const bool json_, terminal_;
  const std::function<void(const std::string&)> say_;
  Rate rate_;
  SteadyTime next_ = {};
  bool shown_ = false;
};

}  // namespace diptych::cli
