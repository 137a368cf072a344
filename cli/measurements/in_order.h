// Several requests at a time, results in the order of their numbers.
#pragma once

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cli/terminal/interrupt.h"
#include "common/mutex.h"

namespace diptych::cli {

// Calls work(i) for 0 <= i < count on up to `workers` threads, and emit(i, result) on this thread in order,
// each as soon as it and all before it are done. After Ctrl-C no work begins any more, and what is done is emitted.
template <typename Result, typename Work, typename Emit>
void ForEachInOrder(size_t count, size_t workers, Work&& work, Emit&& emit) {
  Mutex mutex;  // guards what follows
  CondVar changed;
  size_t next = 0, working = std::min(workers, count);
  std::vector<std::optional<Result>> results(count);
  const auto run = [&] {
    MutexLock lock(mutex);
    while (next < count && !Interrupted()) {
      const size_t mine = next++;
      lock.Unlock();
      Result result = work(mine);
      lock.Lock();
      results[mine] = std::move(result);
      changed.NotifyOne();
    }
    --working;
    changed.NotifyOne();
  };
  std::vector<std::thread> threads;
  for (size_t i = 0, wanted = working; i < wanted; ++i) threads.emplace_back(run);
  for (size_t i = 0; i < count; ++i) {
    MutexLock lock(mutex);
    while (!results[i] && working > 0) changed.Wait(lock);
    if (!results[i]) continue;
    lock.Unlock();
    emit(i, *std::move(results[i]));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace diptych::cli
