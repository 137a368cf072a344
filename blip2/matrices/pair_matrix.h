// A linear map of bfloat16 whose weights lie as the processor multiplies them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "blip2/matrices/tensor_epilogue.h"

namespace diptych::blip2 {

// Const after construction; thread-safe. On the CPU alone.
class PairMatrix {
 public:
  // Packs `weights`, which are [.., in] each and together [out, in]; of any float type, rounded to bfloat16, read once
  // where they lie. bias [out] or none.
  PairMatrix(at::TensorList weights, const std::optional<at::Tensor>& bias);

  // x [..., in] bfloat16 or float32, any strides -> [..., out] of x's type. Of float32, only the factors of the
  // products are rounded to bfloat16. A row has the same bits in every batch. Requires: that width and type; throws
  // c10::Error else.
  at::Tensor operator()(const at::Tensor& x, const TensorEpilogue& epilogue = {}) const;

  // Of the weights as they are held.
  int64_t bytes() const;

 private:
  template <typename T>
  void Multiply(const at::Tensor& rows, const TensorEpilogue& epilogue, at::Tensor& y) const;

  int64_t in_;
  int64_t out_;
  at::Tensor values_;  // as PairWeights has them
  at::Tensor bias_;    // float32; undefined if there is none
};

}  // namespace diptych::blip2
