#include "tests/blip2/tensors.h"

#include <ATen/ATen.h>

namespace diptych::blip2 {

at::Tensor Noise(const std::vector<int64_t>& shape, at::ScalarType dtype, int64_t seed) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return at::sin(at::arange(count, at::kDouble).add_(977 * seed).square().mul_(0.3)).view(shape).to(dtype);
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).norm() / b.to(at::kDouble).norm()).item<double>();
}

}  // namespace diptych::blip2
