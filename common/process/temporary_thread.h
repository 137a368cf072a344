// Runs work on a thread of its own, for the sake of libgomp.
#pragma once

#include <future>
#include <utility>

namespace diptych {

// Runs `work` on a new thread, waits for it and returns its result. The thread's OpenMP team ends with it: when the
// teams of a process have more workers than there are processors, libgomp lets them sleep after every operator.
template <typename Work>
auto RunOnTemporaryThread(Work&& work) {
  return std::async(std::launch::async, std::forward<Work>(work)).get();
}

}  // namespace diptych
