#include "blip2/matrices/weight_only_matrix.h"

#include <ATen/ATen.h>

#include <vector>

namespace diptych::blip2 {
namespace {

constexpr int64_t kFewInt8Rows = 16;          // as many as a block of libtorch's int8 kernel computes side by side
constexpr int64_t kInnerTiles = kGroup / 16;  // of 16 inputs, that int4's kernel reads at once
constexpr int64_t kInt4Zero = 8;              // int4's operators read unsigned numbers, less this

// Numbers in the order of kernels/integer_weights.h, [panels · quads · 16 · 4] -> row after row, [out, in].
at::Tensor RowByRow(const at::Tensor& quads, int64_t out, int64_t in) {
  const int64_t panels = Panels(out);
  return quads.reshape({panels, -1, kPanel, kQuad})
      .permute({0, 2, 1, 3})
      .reshape({panels * kPanel, -1})
      .narrow(0, 0, out)
      .narrow(1, 0, in)
      .contiguous();
}

// The signed numbers of 4 bits plus kInt4Zero, [out, in] uint8.
at::Tensor Unsigned4(const RoundedParts& parts, int64_t out, int64_t in) {
  const at::Tensor pairs = parts.values.view(at::kByte).view({-1, 1, kPanel * kQuad});
  const at::Tensor quads = at::cat({pairs.bitwise_and(0xF), at::bitwise_right_shift(pairs, 4)}, 1);
  return RowByRow(quads.bitwise_xor(kInt4Zero), out, in);
}

// Of each group of inputs, [groups, out] float32.
at::Tensor GroupScales(const RoundedParts& parts, int64_t out) {
  const at::Tensor multipliers =
      parts.multipliers.view({Panels(out), -1, kPanel}).permute({1, 0, 2}).flatten(1).narrow(1, 0, out);
  return multipliers.to(at::kFloat) * parts.scales.narrow(0, 0, out);
}

at::Tensor PackInt4(const at::Tensor& values, c10::Device device) {
  if (!device.is_cuda()) return at::_convert_weight_to_int4pack_for_cpu(values.to(at::kInt), kInnerTiles);
  const at::Tensor even = values.slice(1, 0, std::nullopt, 2), odd = values.slice(1, 1, std::nullopt, 2);
  return at::_convert_weight_to_int4pack(even.mul(16).bitwise_or(odd).to(device), kInnerTiles);
}

}  // namespace

at::Tensor Dequantized(IntegerType type, const RoundedParts& parts, int64_t out) {
  const int64_t in = parts.factors.size(0);
  if (type == IntegerType::kInt8) {
    return RowByRow(parts.values, out, in).to(at::kFloat) * parts.scales.narrow(0, 0, out).unsqueeze(1) * parts.factors;
  }
  const at::Tensor steps = GroupScales(parts, out).t().repeat_interleave(kGroup, 1).narrow(1, 0, in);
  return (Unsigned4(parts, out, in).to(at::kFloat) - kInt4Zero) * steps * parts.factors;
}

int64_t WeightOnlyMatrix::Bytes(IntegerType type, int64_t out, int64_t in) {
  constexpr int64_t kHalfBytes = 2;
  if (type == IntegerType::kInt8) return out * in + (out + in) * kHalfBytes;
  return out * in / 2 + (in / kGroup * out * 2 + in) * kHalfBytes;
}

WeightOnlyMatrix::WeightOnlyMatrix(const IntegerMatrix& matrix, const std::optional<at::Tensor>& bias,
                                   c10::Device device)
    : type_(matrix.type()), out_(matrix.out()), bias_(bias), output_magnitudes_(matrix.output_magnitudes()) {
  const RoundedParts& parts = matrix.parts();
  const int64_t in = parts.factors.size(0);
  TORCH_CHECK(Takes(type_, out_, in), "sides that libtorch's operators do not take: ", out_, " and ", in);
  const auto placed = at::TensorOptions(device).dtype(at::kBFloat16);
  factors_ = parts.factors.to(placed);
  if (type_ == IntegerType::kInt8) {
    values_ = RowByRow(parts.values, out_, in).to(device);
    scales_ = parts.scales.narrow(0, 0, out_).to(placed);
  } else {
    const at::Tensor scales = GroupScales(parts, out_);
    values_ = PackInt4(Unsigned4(parts, out_, in), device).to(device);
    scales_ = at::stack({scales, at::zeros_like(scales)}, 2).to(placed);
  }
}

at::Tensor WeightOnlyMatrix::Multiply(const at::Tensor& rows) const {
  if (type_ == IntegerType::kInt4) {
    return rows.is_cuda() ? at::_weight_int4pack_mm(rows, values_, kGroup, scales_)
                          : at::_weight_int4pack_mm_for_cpu(rows, values_, kGroup, scales_);
  }
  if (rows.size(0) <= kFewInt8Rows) return at::_weight_int8pack_mm(rows, values_, scales_);
  return at::linear(rows, values_.to(at::kBFloat16)).mul_(scales_);
}

at::Tensor WeightOnlyMatrix::operator()(const at::Tensor& x) const {
  const int64_t in = factors_.size(0);
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in && x.scalar_type() == at::kBFloat16, "expected [..., ", in,
              "] bfloat16, got ", x.sizes(), " ", x.scalar_type());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_;
  if (x.numel() == 0) return at::empty(shape, x.options());
  at::Tensor y = Multiply((x.reshape({-1, in}) * factors_).contiguous());
  if (bias_) y.add_(*bias_);
  return y.view(shape);
}

int64_t WeightOnlyMatrix::bytes() const {
  const size_t bias = bias_ ? bias_->nbytes() : 0;
  return static_cast<int64_t>(values_.nbytes() + scales_.nbytes() + factors_.nbytes() + bias);
}

}  // namespace diptych::blip2
