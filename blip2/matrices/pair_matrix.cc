#include "blip2/matrices/pair_matrix.h"

#include <ATen/ATen.h>

#include <vector>

#include "blip2/kernels/pair_linear.h"
#include "blip2/matrices/huge_pages.h"
#include "blip2/matrices/kernel_types.h"

namespace diptych::blip2 {

PairMatrix::PairMatrix(at::TensorList weights, const std::optional<at::Tensor>& bias) {
  std::vector<at::Tensor> readable;
  for (const at::Tensor& weight : weights) readable.push_back(Readable(weight));
  const FloatMatrix matrix = MatrixOf(readable);
  in_ = matrix.in;
  out_ = matrix.out();
  values_ = at::empty({Panels(out_) * PairPanelSize(in_)}, at::kBFloat16);
  AskForHugePages(values_);
  PackPairs(matrix, values_.mutable_data_ptr<c10::BFloat16>());
  if (bias) bias_ = at::constant_pad_nd(bias->to(at::kFloat), {0, Panels(out_) * kPanel - out_}).contiguous();
}

template <typename T>
void PairMatrix::Multiply(const at::Tensor& rows, const TensorEpilogue& epilogue, at::Tensor& y) const {
  const at::Tensor residual = epilogue.residual.defined() ? epilogue.residual.contiguous() : at::Tensor();
  TORCH_CHECK(!residual.defined() || (residual.sizes() == y.sizes() && residual.scalar_type() == y.scalar_type()),
              "expected a residual ", y.sizes());
  MultiplyPairPanels({.in = in_,
                      .out = out_,
                      .values = values_.const_data_ptr<c10::BFloat16>(),
                      .bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr},
                     rows.const_data_ptr<c10::BFloat16>(), rows.numel() / in_,
                     Epilogue<T>{.activation = epilogue.activation,
                                 .residual = residual.defined() ? residual.const_data_ptr<T>() : nullptr},
                     y.mutable_data_ptr<T>());
}

at::Tensor PairMatrix::operator()(const at::Tensor& x, const TensorEpilogue& epilogue) const {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in_, "expected [..., ", in_, "], got ", x.sizes());
  const bool floats = x.scalar_type() == at::kFloat;
  TORCH_CHECK(x.is_cpu() && (floats || x.scalar_type() == at::kBFloat16),
              "expected bfloat16 or float32 on the CPU, got ", x.scalar_type(), " on ", x.device());
  const at::Tensor rows = x.to(at::kBFloat16).contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_;
  at::Tensor y = at::empty(shape, x.options());
  if (y.numel() == 0) return y;
  if (floats) {
    Multiply<float>(rows, epilogue, y);
  } else {
    Multiply<c10::BFloat16>(rows, epilogue, y);
  }
  return y;
}

int64_t PairMatrix::bytes() const {
  return static_cast<int64_t>(values_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
}

}  // namespace diptych::blip2
