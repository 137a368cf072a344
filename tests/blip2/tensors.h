// Tensors for tests, and how far two are apart.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

// [shape] of the dtype, in (−1, 1), without a generator; another one for each `seed`.
at::Tensor Noise(const std::vector<int64_t>& shape, at::ScalarType dtype, int64_t seed);

// The norm of a − b as a share of b's, in double precision.
double RelativeDifference(const at::Tensor& a, const at::Tensor& b);

}  // namespace diptych::blip2
