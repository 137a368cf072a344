// A linear map whose weights are whole numbers of 8 or 4 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// Const after construction; thread-safe. On the CPU alone.
//
// Some channels of a trained model are a hundred times as large as the others, and one scale for a row of activations
// would leave nothing of these. So the columns are evened out before anything is rounded: column k of the weights is
// multiplied by s[k] and that of the activations divided by it, which changes no product. s comes from the weights and
// from how large the activations are by what the layer before says, without looking at an image.
class IntegerMatrix {
 public:
  // Rounds and packs `weights`, which are [.., in] each and together [out, in]; of any float type, read twice where
  // they lie. bias [out] or none. `magnitudes` [in]: about how large each column of the input is, up to a common
  // factor; undefined: all alike.
  IntegerMatrix(IntegerType type, at::TensorList weights, const std::optional<at::Tensor>& bias,
                const at::Tensor& magnitudes);

  // x [..., in], any float type and strides -> [..., out] of x's type. A row has the same bits in every batch.
  // Requires: that width; throws c10::Error else.
  at::Tensor operator()(const at::Tensor& x) const;

  // About how large each output is, in the unit of the constructor's magnitudes: [out] float32.
  const at::Tensor& output_magnitudes() const { return output_magnitudes_; }
  // Of the weights as they are held.
  int64_t bytes() const;

 private:
  const IntegerType type_;
  const ActivationBits activations_;
  const int64_t in_;
  const int64_t out_;
  at::Tensor values_;
  at::Tensor multipliers_;  // undefined in int8
  at::Tensor scales_;
  at::Tensor bias_;               // undefined if there is none
  at::Tensor factors_;            // [in]: 1 / s
  at::Tensor output_magnitudes_;  // [out]
};

}  // namespace diptych::blip2
