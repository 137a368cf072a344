// Operations of a linear map on its product, fused with it where its kernel can.
#pragma once

#include <ATen/core/Tensor.h>

#include "blip2/kernels/epilogue.h"

namespace diptych::blip2 {

// y = activation(x·weightᵀ + bias) + residual
struct TensorEpilogue {
  Activation activation = Activation::kNone;
  at::Tensor residual = {};  // of y's shape and type; undefined: none
};

}  // namespace diptych::blip2
