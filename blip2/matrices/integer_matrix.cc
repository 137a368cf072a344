#include "blip2/matrices/integer_matrix.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "blip2/kernels/integer_linear.h"
#include "blip2/kernels/processor.h"
#include "blip2/matrices/huge_pages.h"
#include "blip2/matrices/kernel_types.h"

namespace diptych::blip2 {
namespace {

// The share of a channel's size that goes into the weights; the activations, which have more bits, keep the rest.
constexpr double kIntoWeights = 0.5;
constexpr double kLeastMagnitude = 1e-20;  // a channel of zeros has some size

at::Tensor EmptyTensor(int64_t count, at::ScalarType type) {
  at::Tensor tensor = at::empty({count}, type);
  AskForHugePages(tensor);
  return tensor;
}

// s [in]
at::Tensor Smoothing(const FloatMatrix& weight, const at::Tensor& magnitudes) {
  const at::Tensor of_weights = at::empty({weight.in});
  ColumnMaxima(weight, of_weights.mutable_data_ptr<float>());
  const at::Tensor s = magnitudes.clamp_min(kLeastMagnitude).pow(kIntoWeights) /
                       of_weights.clamp_min(kLeastMagnitude).pow(1 - kIntoWeights);
  return at::where(s.isfinite().logical_and(s > 0), s, at::ones_like(s)).contiguous();
}

ActivationBits BitsInUse(ActivationBits wanted) {
  return InstructionSetInUse() >= InstructionSet::kAvx512Vnni ? wanted : ActivationBits::k14;
}

int64_t Rows(at::TensorList weights) {
  int64_t rows = 0;
  for (const at::Tensor& weight : weights) rows += weight.size(0);
  return rows;
}

}  // namespace

IntegerMatrix::IntegerMatrix(IntegerType type, at::TensorList weights, const std::optional<at::Tensor>& bias,
                             const at::Tensor& magnitudes, ActivationBits activations)
    : type_(type), activations_(activations), in_(weights.front().size(1)), out_(Rows(weights)) {
  std::vector<at::Tensor> readable;
  for (const at::Tensor& weight : weights) readable.push_back(Readable(weight));
  const FloatMatrix matrix = MatrixOf(readable);
  const at::Tensor inputs = magnitudes.defined() ? magnitudes.to(at::kFloat).contiguous() : at::ones({in_});
  const at::Tensor smoothing = Smoothing(matrix, inputs);
  parts_.factors = smoothing.reciprocal();
  parts_.values = EmptyTensor(Panels(out_) * PanelBytes(type, in_), at::kChar);
  if (type == IntegerType::kInt4) parts_.multipliers = EmptyTensor(Panels(out_) * PanelMultipliers(in_), at::kChar);
  parts_.scales = at::empty({Panels(out_) * kPanel});
  output_magnitudes_ = at::empty({out_});
  PackWeights(type, matrix,
              {.smoothing = smoothing.const_data_ptr<float>(), .magnitudes = inputs.const_data_ptr<float>()},
              {.values = parts_.values.mutable_data_ptr<int8_t>(),
               .multipliers = parts_.multipliers.defined() ? parts_.multipliers.mutable_data_ptr<int8_t>() : nullptr,
               .scales = parts_.scales.mutable_data_ptr<float>(),
               .norms = output_magnitudes_.mutable_data_ptr<float>()});
  if (!bias) return;
  bias_ = bias->to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  output_magnitudes_ = at::hypot(output_magnitudes_, bias_);
}

IntegerMatrix::IntegerMatrix(IntegerType type, RoundedParts parts, const std::optional<at::Tensor>& bias,
                             ActivationBits activations)
    : type_(type),
      activations_(activations),
      in_(parts.factors.size(0)),
      out_(parts.scales.size(0)),
      parts_(std::move(parts)) {
  parts_.scales = at::constant_pad_nd(parts_.scales, {0, Panels(out_) * kPanel - out_}).contiguous();
  if (bias) bias_ = bias->to(at::kFloat).contiguous();
}

at::Tensor IntegerMatrix::operator()(const at::Tensor& x, const TensorEpilogue& epilogue) const {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in_, "expected [..., ", in_, "], got ", x.sizes());
  TORCH_CHECK(x.is_cpu() && at::isFloatingType(x.scalar_type()), "expected floating point on the CPU, got ",
              x.scalar_type(), " on ", x.device());
  const at::Tensor rows = x.to(at::kFloat).contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_;
  at::Tensor y = at::empty(shape, rows.options());
  if (y.numel() == 0) return y.to(x.scalar_type());
  const at::Tensor residual =
      epilogue.residual.defined() ? epilogue.residual.to(at::kFloat).contiguous() : at::Tensor();
  TORCH_CHECK(!residual.defined() || residual.sizes() == y.sizes(), "expected a residual ", y.sizes());
  const IntegerRows rounded = RoundRows(rows.const_data_ptr<float>(), parts_.factors.const_data_ptr<float>(),
                                        rows.numel() / in_, in_, BitsInUse(activations_));
  MultiplyIntegers(
      {.type = type_,
       .in = in_,
       .out = out_,
       .values = parts_.values.const_data_ptr<int8_t>(),
       .multipliers = parts_.multipliers.defined() ? parts_.multipliers.const_data_ptr<int8_t>() : nullptr,
       .scales = parts_.scales.const_data_ptr<float>(),
       .bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr},
      rounded,
      {.activation = epilogue.activation, .residual = residual.defined() ? residual.const_data_ptr<float>() : nullptr},
      y.mutable_data_ptr<float>());
  return y.to(x.scalar_type());
}

int64_t IntegerMatrix::bytes() const {
  size_t bytes = 0;
  for (const at::Tensor* part : {&parts_.values, &parts_.multipliers, &parts_.scales, &bias_, &parts_.factors}) {
    if (part->defined()) bytes += part->nbytes();
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace diptych::blip2
