// What a card gives at best: the rates of its memory and of its products, which the model's are compared with.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "bench/seconds.h"
#include "blip2/device/transfer.h"

// Memory of a card that its caches do not hold, 4 GiB.
inline at::Tensor CardMemoryToRead(c10::Device device) {
  return at::ones({int64_t{1} << 30}, at::TensorOptions(device).dtype(at::kFloat));
}

// Bytes a second of one read of `memory` (float32).
inline double CardReadRate(const at::Tensor& memory) {
  diptych::blip2::Synchronize(memory.device());
  const Seconds taken = TimeOf([&] { (void)memory.sum().item<float>(); });
  return static_cast<double>(memory.nbytes()) / taken.clock;
}

// Operations a second, two for each product of two numbers, of a product of square matrices with sides of `side`: the
// best of ten, each waited for.
inline double ProductRate(c10::Device device, at::ScalarType dtype, int64_t side = 8192) {
  const at::Tensor a = at::randn({side, side}, at::TensorOptions(device)).to(dtype), b = a.t().contiguous();
  double best = 0;
  for (int round = 0; round < 10; ++round) {
    diptych::blip2::Synchronize(device);
    const Seconds taken = TimeOf([&] {
      (void)at::mm(a, b);
      diptych::blip2::Synchronize(device);
    });
    best = std::max(best, 2 * static_cast<double>(side * side * side) / taken.clock);
  }
  return best;
}
