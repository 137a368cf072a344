// Work for libtorch's threads, in pieces.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace diptych::blip2 {

// As at::parallel_for from 0 on, but each thread takes a piece when it has done the one before, so that one that was
// pushed aside holds up the others by a piece at most. Calls `work(begin, end)` several times on each thread; a piece
// has at least `grain` elements, if there are so many.
template <typename Work>
void ShareOut(int64_t count, int64_t grain, const Work& work) {
  constexpr int64_t kPieces = 16;  // of each thread
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), (count + grain - 1) / grain);
  if (threads <= 1 || at::in_parallel_region()) return work(0, count);
  const int64_t piece = std::max(grain, (count + threads * kPieces - 1) / (threads * kPieces));
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t begin; (begin = next.fetch_add(piece, std::memory_order_relaxed)) < count;) {
      work(begin, std::min(begin + piece, count));
    }
  });
}

}  // namespace diptych::blip2
