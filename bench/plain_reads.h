// The rate that memory gives: what a step that waits for its weights is compared with.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>

// Bytes a second of plain reads of `memory` (contiguous, on the CPU) by all threads. `seconds` measures what it is
// given.
inline double ReadRate(const at::Tensor& memory, const std::function<double(const std::function<void()>&)>& seconds) {
  const auto* words = static_cast<const uint64_t*>(memory.const_data_ptr());
  const auto count = static_cast<int64_t>(memory.nbytes() / sizeof(uint64_t));
  std::atomic<uint64_t> sink = 0;
  const double passed = seconds([&] {
    at::parallel_for(0, count, count / at::get_num_threads(), [&](int64_t begin, int64_t end) {
      uint64_t sums[16] = {};
      for (int64_t i = begin; i + 16 <= end; i += 16) {
        for (int k = 0; k < 16; ++k) sums[k] += words[i + k];
      }
      for (const uint64_t sum : sums) sink += sum;
    });
  });
  return static_cast<double>(memory.nbytes()) / passed;
}
