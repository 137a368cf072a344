// CUDA's threads as threads of the host, so that a kernel's source runs as plain C++. Include it before the source.
#pragma once

#include <math.h>  // expf and fmaxf outside std, as CUDA has them

#include <bit>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace diptych::blip2::emulated {

struct Index {
  int x = 0;
  int y = 0;
};

// std::barrier spins, which costs many threads on few cores dearly.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void Await() {
    std::unique_lock lock(mutex_);
    const int64_t round = round_;
    if (++arrived_ == threads_) {
      arrived_ = 0;
      ++round_;
      all_arrived_.notify_all();
    }
    all_arrived_.wait(lock, [&] { return round_ != round; });
  }

 private:
  const int threads_;
  std::mutex mutex_;
  std::condition_variable all_arrived_;
  int arrived_ = 0;
  int64_t round_ = 0;
};

inline thread_local Index thread_index;
inline Index block_index, grid_size;  // blocks run one after the other
inline Barrier* block_barrier = nullptr;

// Runs `kernel` in blocks of so many threads; those that have ended are waited for by none.
template <typename Kernel>
void Run(Index grid, int threads, const Kernel& kernel) {
  Barrier barrier(threads), between_blocks(threads);
  block_barrier = &barrier;
  grid_size = grid;
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      thread_index = {.x = thread};
      for (int block = 0; block < grid.x * grid.y; ++block) {
        if (thread == 0) block_index = {.x = block % grid.x, .y = block / grid.x};
        between_blocks.Await();
        kernel();
        between_blocks.Await();
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
  diptych::blip2::emulated::block_barrier->Await();
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
