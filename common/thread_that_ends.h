// Work at the start, apart from the threads that stay.
#pragma once

#include <future>
#include <utility>

namespace diptych {

// What `work` returns, run on a thread that has ended then, and with it its OpenMP team. libgomp counts the workers of
// all teams, and when they are more than the processors it lets an engine's go to sleep after every operator. Waits.
template <typename Work>
auto OnThreadThatEnds(Work&& work) {
  return std::async(std::launch::async, std::forward<Work>(work)).get();
}

}  // namespace diptych
