#include "blip2/matrices/float8_matrix.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

namespace diptych::blip2 {
namespace {

constexpr float kLargest = 448;   // of e4m3
constexpr float kLeast = 1e-12F;  // of what is scaled: a row of zeros has some scale

struct Float8Rows {
  at::Tensor values;
  at::Tensor scales;
};

Float8Rows Rounded(const RoundToFloat8& round, const at::Tensor& rows) {
  const Float8Rows rounded = {.values = at::empty(rows.sizes(), rows.options().dtype(at::kFloat8_e4m3fn)),
                              .scales = at::empty({rows.size(0), 1}, rows.options().dtype(at::kFloat))};
  round(rows, rounded.values, rounded.scales);
  return rounded;
}

}  // namespace

// Rounds like cuda/float8_rows.cu, bit for bit.
void RoundToFloat8ByOperators(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales) {
  const at::Tensor wide = rows.to(at::kFloat);
  const at::Tensor largest = wide.abs().amax(1, /*keepdim=*/true).clamp_min(kLeast);
  scales.copy_(largest * (1 / kLargest));
  values.copy_((wide * (largest.reciprocal() * kLargest)).clamp(-kLargest, kLargest));
}

Float8Matrix::Float8Matrix(const at::Tensor& weight, const std::optional<at::Tensor>& bias, RoundToFloat8 round)
    : round_(std::move(round)), bias_(bias) {
  TORCH_CHECK(Takes(weight.size(0), weight.size(1)), "expected multiples of 16, got ", weight.sizes());
  const Float8Rows rounded = Rounded(round_, weight.contiguous());
  values_ = rounded.values;
  scales_ = rounded.scales;
}

at::Tensor Float8Matrix::operator()(const at::Tensor& x) const {
  const int64_t in = values_.size(1);
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in && x.scalar_type() == at::kBFloat16, "expected [..., ", in,
              "] bfloat16, got ", x.sizes(), " ", x.scalar_type());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = values_.size(0);
  if (x.numel() == 0) return at::empty(shape, x.options());
  const Float8Rows rows = Rounded(round_, x.reshape({-1, in}).contiguous());
  return at::_scaled_mm(rows.values, values_.t(), rows.scales, scales_.t(), bias_, /*scale_result=*/{}, at::kBFloat16)
      .view(shape);
}

int64_t Float8Matrix::bytes() const {
  return static_cast<int64_t>(values_.nbytes() + scales_.nbytes() + (bias_ ? bias_->nbytes() : 0));
}

}  // namespace diptych::blip2
