// Tensors' number types as the kernels name them.
#pragma once

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

}  // namespace diptych::blip2
