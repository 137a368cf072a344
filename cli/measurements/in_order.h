// Several requests at a time, results in the order of their numbers.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cli/terminal/interrupt.h"

namespace diptych::cli {

// Calls work(i) for 0 <= i < count on up to `workers` threads, and emit(i, result) on this thread in order,
// each as soon as it and all before it are done. After Ctrl-C no work begins any more, and what is done is emitted.
template <typename Result, typename Work, typename Emit>
void ForEachInOrder(size_t count, size_t workers, Work&& work, Emit&& emit) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0, working = std::min(workers, count);
  std::vector<std::optional<Result>> results(count);
  const auto run = [&] {
    std::unique_lock lock(mutex);
    while (next < count && !Interrupted()) {
      const size_t mine = next++;
      lock.unlock();
      Result result = work(mine);
      lock.lock();
      results[mine] = std::move(result);
      changed.notify_one();
    }
    --working;
    changed.notify_one();
  };
  std::vector<std::thread> threads;
  for (size_t i = 0, wanted = working; i < wanted; ++i) threads.emplace_back(run);
  for (size_t i = 0; i < count; ++i) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return results[i].has_value() || working == 0; });
    if (!results[i]) continue;
    lock.unlock();
    emit(i, *std::move(results[i]));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace diptych::cli
