#include "blip2/layers.h"

#include <ATen/ATen.h>

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "blip2/checkpoint/tensor_names.h"
#include "blip2/cuda/float8_rows.h"
#include "blip2/kernels/float_linear.h"
#include "blip2/kernels/pair_attention.h"
#include "blip2/kernels/processor.h"
#include "blip2/matrices/kernel_types.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kFewRows = 16;  // libtorch's product is slower up to here, whatever the type

bool IsForOurKernel(const at::Tensor& x, const at::Tensor& weight) {
  if (!x.is_cpu() || !weight.is_cpu() || !weight.is_contiguous() || x.scalar_type() != weight.scalar_type())
    return false;
  if (x.dim() < 1 || x.numel() == 0 || x.size(-1) != weight.size(1) || !KernelWeightType(x.scalar_type())) return false;
  const bool few = x.numel() / x.size(-1) <= kFewRows;
  // Without instructions for them, libtorch's products of half-width numbers take several times those of float32.
  return few || (x.scalar_type() != at::kFloat && !MultipliesPairs());
}

at::Tensor MultiplyByOurKernel(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const bool pairs = x.scalar_type() == at::kBFloat16 && MultipliesPairs();
  const at::Tensor rows = (pairs ? x : x.to(at::kFloat)).contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  at::Tensor y = at::empty(shape, x.options().dtype(at::kFloat));
  const LinearWeights weights = {.type = *KernelWeightType(weight.scalar_type()),
                                 .weight = weight.const_data_ptr(),
                                 .bias = bias ? bias->const_data_ptr() : nullptr,
                                 .in = weight.size(1),
                                 .out = weight.size(0)};
  const int64_t count = rows.numel() / weights.in;
  if (pairs) {
    MultiplyPairs(weights, rows.const_data_ptr<c10::BFloat16>(), count, y.mutable_data_ptr<float>());
  } else {
    MultiplyRows(weights, rows.const_data_ptr<float>(), count, y.mutable_data_ptr<float>());
  }
  return y.to(x.scalar_type());
}

bool TakesPairs(const Placement& placement, bool of_floats) {
  if (!placement.device.is_cpu() || placement.float8 || placement.weight_only()) return false;
  return placement.dtype == at::kBFloat16 || (of_floats && placement.dtype == at::kFloat && MultipliesPairs());
}

bool AttendsInPairs(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                    const Visibility& visibility) {
  const auto fits = [](const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.stride(3) == 1 && x.numel() > 0;
  };
  return !visibility.causal && !visibility.mask && fits(query) && fits(key) && fits(value);
}

at::Tensor AttentionInPairs(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale) {
  const auto strided = [](const at::Tensor& x) -> StridedHeads {
    return {.data = x.const_data_ptr<c10::BFloat16>(),
            .batch_stride = x.stride(0),
            .head_stride = x.stride(1),
            .token_stride = x.stride(2)};
  };
  at::Tensor out = at::empty({query.size(0), query.size(2), query.size(1) * query.size(3)}, query.options());
  AttendPairs({.batch = query.size(0),
               .heads = query.size(1),
               .queries = query.size(2),
               .keys = key.size(2),
               .width = query.size(3),
               .scale = static_cast<float>(scale),
               .query = strided(query),
               .key = strided(key),
               .value = strided(value),
               .out = out.mutable_data_ptr<c10::BFloat16>()});
  return out;
}

// In place.
at::Tensor Apply(const TensorEpilogue& epilogue, at::Tensor y) {
  if (epilogue.activation == Activation::kRelu) y.relu_();
  if (epilogue.activation == Activation::kGelu) at::gelu_(y, "none");
  return epilogue.residual.defined() ? y.add_(epilogue.residual) : y;
}

std::optional<at::Tensor> OnCpu(const std::optional<at::Tensor>& bias) {
  return bias ? std::optional(bias->cpu()) : std::nullopt;
}

at::Tensor OnCpu(const at::Tensor& magnitudes) {
  return magnitudes.defined() ? magnitudes.cpu() : magnitudes;
}

RoundToFloat8 RoundingOn(const Placement& placement) {
  if (!placement.float8 || !placement.device.is_cuda()) return RoundToFloat8ByOperators;
  auto kernel = MakeFloat8Rows(placement.device);
  TORCH_CHECK(kernel.ok(), std::string(kernel.status().message()), "; take --dtype bfloat16");
  return *std::move(kernel);
}

}  // namespace

at::Tensor Linear::operator()(const at::Tensor& x, const TensorEpilogue& epilogue) const {
  if (integers) return (*integers)(x, epilogue);
  if (pairs) return (*pairs)(x, epilogue);
  if (float8) return Apply(epilogue, (*float8)(x));
  if (weight_only) return Apply(epilogue, (*weight_only)(x));
  return Apply(epilogue,
               IsForOurKernel(x, weight) ? MultiplyByOurKernel(x, weight, bias) : at::linear(x, weight, bias));
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {width}, weight, bias, eps);
}

at::Tensor SplitHeads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor Attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale,
                     const Visibility& visibility) {
  if (AttendsInPairs(query, key, value, visibility)) return AttentionInPairs(query, key, value, scale);
  const at::Tensor out =
      at::scaled_dot_product_attention(query, key, value, visibility.mask, /*dropout_p=*/0, visibility.causal, scale);
  return out.transpose(1, 2).reshape({query.size(0), query.size(2), -1});
}

at::Tensor MeanAttention(const at::Tensor& query, const at::Tensor& key, double scale,
                         const std::optional<at::Tensor>& mask) {
  at::Tensor scores = at::matmul(query.to(at::kFloat), key.to(at::kFloat).transpose(2, 3)).mul_(scale);
  if (mask) scores.masked_fill_(mask->logical_not(), -std::numeric_limits<float>::infinity());
  return scores.softmax(-1).mean(1);
}

at::Tensor Magnitudes(const LayerNorm& norm) {
  if (!norm.weight) return {};
  return at::hypot(norm.weight->to(at::kFloat), norm.bias->to(at::kFloat));
}

at::Tensor Magnitudes(const Linear& linear, int64_t begin, int64_t count) {
  at::Tensor magnitudes;
  if (linear.integers) magnitudes = linear.integers->output_magnitudes();
  if (linear.weight_only) magnitudes = linear.weight_only->output_magnitudes();
  return magnitudes.defined() ? magnitudes.narrow(0, begin, count) : magnitudes;
}

WeightReader::WeightReader(const Checkpoint& checkpoint, const Placement& placement, ActivationBits activations,
                           OnRounded on_rounded)
    : checkpoint_(checkpoint),
      placement_(placement),
      activations_(activations),
      on_rounded_(std::move(on_rounded)),
      round_(RoundingOn(placement)) {}

at::Tensor WeightReader::ReadTensor(const std::string& name) {
  return ReadTensorAs(name, placement_.dtype);
}

at::Tensor WeightReader::ReadTensorAs(const std::string& name, c10::ScalarType dtype) {
  at::Tensor tensor = checkpoint_.Load(name, {.device = placement_.device, .dtype = dtype});
  size_.parameters += tensor.numel();
  size_.bytes += tensor.nbytes();
  return tensor;
}

Linear WeightReader::ReadLinear(const std::string& name, bool bias, const at::Tensor& magnitudes) {
  return ReadStacked(name, {name}, bias, magnitudes);
}

Linear WeightReader::ReadStacked(const std::string& stack, std::initializer_list<std::string> names, bool bias,
                                 const at::Tensor& magnitudes) {
  std::optional<at::Tensor> biases;
  if (bias) biases = Stack(names, ".bias");
  std::vector<std::string> weights;
  for (const std::string& name : names) weights.push_back(name + ".weight");
  if (placement_.integers && (!in_floats_ || checkpoint_.config().rounded)) {
    return Round(stack, *placement_.integers, weights, biases, magnitudes);
  }
  if (TakesPairs(placement_, in_pairs_)) return Pack(weights, biases);
  Linear linear{.weight = Stack(names, ".weight"), .bias = biases, .integers = {}};
  size_.parameters += linear.weight.numel() + (bias ? biases->numel() : 0);
  if (placement_.float8 && Float8Matrix::Takes(linear.weight.size(0), linear.weight.size(1))) return InFloat8(linear);
  size_.bytes += static_cast<int64_t>(linear.weight.nbytes() + (bias ? biases->nbytes() : 0));
  return linear;
}

Linear WeightReader::InFloat8(const Linear& linear) {
  Linear linear8;
  linear8.float8 = std::make_shared<const Float8Matrix>(linear.weight, linear.bias, round_);
  size_.bytes += linear8.float8->bytes();
  return linear8;
}

at::Tensor WeightReader::Stack(std::initializer_list<std::string> names, const char* suffix) const {
  if (names.size() == 1) return Load(*names.begin() + suffix);
  at::Tensor stacked;
  int64_t part = 0;
  for (const std::string& name : names) {
    const at::Tensor tensor = Load(name + suffix);
    if (!stacked.defined()) {
      std::vector<int64_t> shape = tensor.sizes().vec();
      shape[0] *= static_cast<int64_t>(names.size());
      stacked = at::empty(shape, tensor.options());
    }
    stacked.narrow(0, part++ * tensor.size(0), tensor.size(0)).copy_(tensor);
  }
  return stacked;
}

Linear WeightReader::ReadHead(const std::string& name, const at::Tensor& magnitudes) {
  const int64_t parameters = size_.parameters;
  Linear linear = Round(kRoundedHead, IntegerType::kInt8, {name}, std::nullopt, magnitudes);
  size_.parameters = parameters;
  return linear;
}

Linear WeightReader::Pack(const std::vector<std::string>& names, const std::optional<at::Tensor>& bias) {
  std::vector<at::Tensor> weights;
  for (const std::string& name : names) {
    weights.push_back(checkpoint_.View(name));
    size_.parameters += weights.back().numel();
  }
  Linear linear;
  linear.pairs = std::make_shared<PairMatrix>(weights, bias);
  for (const std::string& name : names) checkpoint_.Release(name);
  size_.parameters += bias ? bias->numel() : 0;
  size_.bytes += linear.pairs->bytes();
  return linear;
}

Linear WeightReader::Round(const std::string& stack, IntegerType type, const std::vector<std::string>& names,
                           const std::optional<at::Tensor>& bias, const at::Tensor& magnitudes) {
  if (checkpoint_.config().rounded) return Stored(stack, type, bias);
  std::vector<at::Tensor> weights;
  for (const std::string& name : names) {
    weights.push_back(checkpoint_.View(name));
    size_.parameters += weights.back().numel();
  }
  const auto matrix = std::make_shared<IntegerMatrix>(type, weights, OnCpu(bias), OnCpu(magnitudes), activations_);
  for (const std::string& name : names) checkpoint_.Release(name);
  size_.parameters += bias ? bias->numel() : 0;
  if (on_rounded_) on_rounded_(stack, matrix);
  return Held(matrix, bias);
}

Linear WeightReader::Stored(const std::string& stack, IntegerType type, const std::optional<at::Tensor>& bias) {
  const RoundedNames names(stack);
  const Placement floats;
  const RoundedParts parts = {
      .values = checkpoint_.Map(names.values),
      .multipliers = type == IntegerType::kInt4 ? checkpoint_.Map(names.multipliers) : at::Tensor(),
      .scales = checkpoint_.Load(names.scales, floats),
      .factors = checkpoint_.Load(names.factors, floats)};
  size_.parameters += parts.scales.size(0) * parts.factors.size(0) + (bias ? bias->numel() : 0);
  return Held(std::make_shared<IntegerMatrix>(type, parts, OnCpu(bias), activations_), bias);
}

Linear WeightReader::Held(std::shared_ptr<const IntegerMatrix> matrix, const std::optional<at::Tensor>& bias) {
  Linear linear;
  const int64_t in = matrix->parts().factors.size(0);
  if (!placement_.weight_only()) {
    linear.integers = std::move(matrix);
    size_.bytes += linear.integers->bytes();
  } else if (!in_floats_ && WeightOnlyMatrix::Takes(matrix->type(), matrix->out(), in)) {
    linear.weight_only = std::make_shared<const WeightOnlyMatrix>(*matrix, bias, placement_.device);
    size_.bytes += linear.weight_only->bytes();
  } else {
    const at::Tensor weight = Dequantized(matrix->type(), matrix->parts(), matrix->out());
    linear.weight = weight.to(at::TensorOptions(placement_.device).dtype(placement_.dtype));
    linear.bias = bias;
    size_.bytes += static_cast<int64_t>(linear.weight.nbytes() + (bias ? bias->nbytes() : 0));
  }
  return linear;
}

LayerNorm WeightReader::ReadLayerNorm(const std::string& name, int64_t width, double eps, bool affine) {
  LayerNorm norm{.width = width, .eps = eps, .weight = {}, .bias = {}};
  if (affine) {
    norm.weight = ReadTensor(name + ".weight");
    norm.bias = ReadTensor(name + ".bias");
  }
  return norm;
}

}  // namespace diptych::blip2
