// Tensors' number types as the kernels name them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <optional>

#include "blip2/kernels/float_matrix.h"

namespace diptych::blip2 {

// None for a type that they do not read.
inline std::optional<WeightType> KernelWeightType(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return WeightType::kFloat32;
    case c10::ScalarType::BFloat16:
      return WeightType::kBFloat16;
    case c10::ScalarType::Half:
      return WeightType::kFloat16;
    default:
      return std::nullopt;
  }
}

// `weight` in a type that the kernels read, row after row.
inline at::Tensor Readable(const at::Tensor& weight) {
  return (KernelWeightType(weight.scalar_type()) ? weight : weight.to(at::kFloat)).contiguous();
}

// One matrix of several, which are [.., in] each and Readable; for as long as they exist.
inline FloatMatrix MatrixOf(at::TensorList weights) {
  FloatMatrix matrix{.blocks = {}, .in = weights.front().size(1)};
  for (const at::Tensor& weight : weights) {
    matrix.blocks.push_back(
        {.type = *KernelWeightType(weight.scalar_type()), .data = weight.const_data_ptr(), .rows = weight.size(0)});
  }
  return matrix;
}

}  // namespace diptych::blip2
