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
// each as soon as it and all before it are done. Before work(i) begins, await(i) has returned, which is called in order
// and for one i at a time. After Ctrl-C no work begins any more, and what is done is emitted.
template <typename Result, typename Await, typename Work, typename Emit>
void ForEachInOrder(size_t count, size_t workers, Await&& await, Work&& work, Emit&& emit) {
  Mutex turn;  // guards `next`
  size_t next = 0;
  Mutex mutex;  // guards what follows
  CondVar changed;
  size_t working = std::min(workers, count);
  std::vector<std::optional<Result>> results(count);
  const auto take = [&]() -> std::optional<size_t> {
    MutexLock lock(turn);
    if (next < count && !Interrupted()) await(next);
    if (next == count || Interrupted()) return std::nullopt;
    return next++;
  };
  const auto run = [&] {
    while (const auto mine = take()) {
      Result result = work(*mine);
      MutexLock lock(mutex);
      results[*mine] = std::move(result);
      changed.NotifyOne();
    }
    MutexLock lock(mutex);
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

// The same, each as soon as a thread is free.
template <typename Result, typename Work, typename Emit>
void ForEachInOrder(size_t count, size_t workers, Work&& work, Emit&& emit) {
  ForEachInOrder<Result>(
      count, workers, [](size_t) {}, work, emit);
}

}  // namespace diptych::cli
