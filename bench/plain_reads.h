// The rate that memory gives: what a step that waits for its weights is compared with.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>

#include "blip2/matrices/huge_pages.h"

// So many bytes on the CPU, none of them 0; more than the caches hold.
inline at::Tensor MemoryToRead(int64_t bytes) {
  at::Tensor memory = at::empty({bytes}, at::kByte);
  diptych::blip2::AskForHugePages(memory);
  return memory.fill_(1);
}

// Bytes a second of reads of MemoryToRead by all threads: the C library looks for a 0, with the widest loads of the
// processor. `seconds` measures what it is given.
inline double ReadRate(const at::Tensor& memory, const std::function<double(const std::function<void()>&)>& seconds) {
  const auto* bytes = static_cast<const char*>(memory.const_data_ptr());
  std::atomic<bool> found = false;
  const double passed = seconds([&] {
    at::parallel_for(0, memory.numel(), memory.numel() / at::get_num_threads(), [&](int64_t begin, int64_t end) {
      if (std::memchr(bytes + begin, 0, static_cast<size_t>(end - begin)) != nullptr) found = true;
    });
  });
  return found ? 0 : static_cast<double>(memory.nbytes()) / passed;
}
