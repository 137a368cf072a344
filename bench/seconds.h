// What a piece of work takes, as benchmarks of the model measure it.
#pragma once

#include <sys/resource.h>

#include <chrono>

// By the clock, and of all threads' processor time.
struct Seconds {
  double clock = 0;
  double processor = 0;
};

// Of this process so far.
inline double ProcessorSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename Work>
Seconds TimeOf(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  const double processor = ProcessorSeconds();
  work();
  return {.clock = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
          .processor = ProcessorSeconds() - processor};
}
