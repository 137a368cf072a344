// Several requests at a time, results in the order of their numbers.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace diptych::cli {

// Calls work(i) for 0 <= i < count on up to `workers` threads, and emit(i, result) on this thread in order,
// each as soon as it and all before it are done.
template <typename Result, typename Work, typename Emit>
void ForEachInOrder(size_t count, size_t workers, Work&& work, Emit&& emit) {
  std::mutex mutex;
  std::condition_variable done;
  size_t next = 0;
  std::vector<std::optional<Result>> results(count);
  const auto run = [&] {
    for (;;) {
      size_t mine;
      {
        std::lock_guard lock(mutex);
        if (next == count) return;
        mine = next++;
      }
      Result result = work(mine);
      {
        std::lock_guard lock(mutex);
        results[mine] = std::move(result);
      }
      done.notify_one();
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(workers, count); ++i) threads.emplace_back(run);
  for (size_t i = 0; i < count; ++i) {
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return results[i].has_value(); });
    lock.unlock();
    emit(i, *std::move(results[i]));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace diptych::cli
