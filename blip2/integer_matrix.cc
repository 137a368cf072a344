#include "blip2/integer_matrix.h"

#include <ATen/ATen.h>

#include <limits>
#include <vector>

#include "blip2/huge_pages.h"
#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_linear.h"

namespace diptych::blip2 {
namespace {

// How much of a channel's size goes into the weights; the activations, which have more bits, keep the rest.
constexpr double kIntoWeights = 0.5;
constexpr double kLeastMagnitude = 1e-20;  // a channel of zeros has some size

at::Tensor Uninitialized(int64_t count, at::ScalarType type) {
  at::Tensor tensor = at::empty({count}, type);
  AskForHugePages(tensor);
  return tensor;
}

// s [in] for weight [out, in].
at::Tensor Smoothing(const at::Tensor& weight, const at::Tensor& magnitudes) {
  const at::Tensor of_weights =
      at::linalg_vector_norm(weight, std::numeric_limits<double>::infinity(), at::IntArrayRef{0});
  const at::Tensor s = magnitudes.clamp_min(kLeastMagnitude).pow(kIntoWeights) /
                       of_weights.clamp_min(kLeastMagnitude).pow(1 - kIntoWeights);
  return at::where(s.isfinite(), s, at::ones_like(s)).contiguous();
}

}  // namespace

IntegerMatrix::IntegerMatrix(IntegerType type, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             const at::Tensor& magnitudes)
    : type_(type), in_(weight.size(1)), out_(weight.size(0)) {
  const at::Tensor exact = weight.to(at::kFloat).contiguous();
  const at::Tensor inputs = magnitudes.defined() ? magnitudes.to(at::kFloat) : at::ones({in_});
  const at::Tensor smoothing = Smoothing(exact, inputs);
  factors_ = smoothing.reciprocal();
  output_magnitudes_ = at::linalg_vector_norm(exact * inputs, 2, at::IntArrayRef{1});
  if (bias) {
    bias_ = bias->to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
    output_magnitudes_ = at::hypot(output_magnitudes_, bias_);
  }
  values_ = Uninitialized(Panels(out_) * PanelBytes(type, in_), at::kChar);
  if (type == IntegerType::kInt4) multipliers_ = Uninitialized(Panels(out_) * PanelMultipliers(in_), at::kChar);
  scales_ = at::empty({Panels(out_) * kPanel});
  PackWeights(type, exact.const_data_ptr<float>(), smoothing.const_data_ptr<float>(), in_, out_,
              {.values = values_.mutable_data_ptr<int8_t>(),
               .multipliers = multipliers_.defined() ? multipliers_.mutable_data_ptr<int8_t>() : nullptr,
               .scales = scales_.mutable_data_ptr<float>()});
}

at::Tensor IntegerMatrix::operator()(const at::Tensor& x) const {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in_, "expected [..., ", in_, "], got ", x.sizes());
  TORCH_CHECK(x.is_cpu() && at::isFloatingType(x.scalar_type()), "expected floating point on the CPU, got ",
              x.scalar_type(), " on ", x.device());
  const at::Tensor rows = x.to(at::kFloat).contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_;
  at::Tensor y = at::empty(shape, rows.options());
  if (y.numel() == 0) return y.to(x.scalar_type());
  const IntegerRows rounded =
      RoundRows(rows.const_data_ptr<float>(), factors_.const_data_ptr<float>(), rows.numel() / in_, in_);
  MultiplyIntegers({.type = type_,
                    .in = in_,
                    .out = out_,
                    .values = values_.const_data_ptr<int8_t>(),
                    .multipliers = multipliers_.defined() ? multipliers_.const_data_ptr<int8_t>() : nullptr,
                    .scales = scales_.const_data_ptr<float>(),
                    .bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr},
                   rounded, y.mutable_data_ptr<float>());
  return y.to(x.scalar_type());
}

int64_t IntegerMatrix::bytes() const {
  size_t bytes = 0;
  for (const at::Tensor* part : {&values_, &multipliers_, &scales_, &bias_, &factors_}) {
    if (part->defined()) bytes += part->nbytes();
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace diptych::blip2
