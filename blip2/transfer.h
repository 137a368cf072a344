// The one way of tensors between the host and the device that a model runs on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

// Copies of one thread since it began. Between the host and itself nothing is copied, and nothing counted.
struct TransferCounts {
  int64_t uploads = 0;
  int64_t downloads = 0;
  int64_t bytes = 0;  // both ways
};
TransferCounts Transfers();

// `host` on `device`, in its own type: what is to be converted is converted there. Goes through pinned memory on CUDA
// and does not wait. Requires: `host` is on the CPU.
at::Tensor Upload(const at::Tensor& host, c10::Device device);

// int64 [N].
at::Tensor Upload(const std::vector<int64_t>& values, c10::Device device);

// `x` on the CPU, once all that it depends on has been computed, even if it is empty: the time until then is the
// device's.
at::Tensor Download(const at::Tensor& x);

// Returns once the device has done all that it was given. An error of it is thrown here.
void Synchronize(c10::Device device);

}  // namespace diptych::blip2
