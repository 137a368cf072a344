// CUDA's threads as threads of the host, so that a kernel's source runs as plain C++. Include it before the source.
#pragma once

#include <math.h>  // expf and fmaxf outside std, as CUDA has them

#include <barrier>
#include <bit>
#include <cstdint>
#include <thread>
#include <vector>

namespace diptych::blip2::emulated {

struct Index {
  int x = 0;
  int y = 0;
};

inline thread_local Index thread_index;
inline Index block_index, grid_size;  // blocks run one after the other
inline std::barrier<>* block_barrier = nullptr;

// Runs `kernel` in blocks of so many threads; those that have ended are waited for by none.
template <typename Kernel>
void Run(Index grid, int threads, const Kernel& kernel) {
  std::barrier<> barrier(threads), between_blocks(threads);
  block_barrier = &barrier;
  grid_size = grid;
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      thread_index = {.x = thread};
      for (int block = 0; block < grid.x * grid.y; ++block) {
        if (thread == 0) block_index = {.x = block % grid.x, .y = block / grid.x};
        between_blocks.arrive_and_wait();
        kernel();
        between_blocks.arrive_and_wait();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
}

}  // namespace diptych::blip2::emulated

#define __device__
#define __shared__ static
#define threadIdx diptych::blip2::emulated::thread_index
#define blockIdx diptych::blip2::emulated::block_index
#define gridDim diptych::blip2::emulated::grid_size

inline void __syncthreads() {  // NOLINT: CUDA's names
  diptych::blip2::emulated::block_barrier->arrive_and_wait();
}
inline float __uint_as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}  // NOLINT
inline uint32_t __float_as_uint(float x) {
  return std::bit_cast<uint32_t>(x);
}  // NOLINT
inline float __int_as_float(int32_t bits) {
  return std::bit_cast<float>(bits);
}  // NOLINT
