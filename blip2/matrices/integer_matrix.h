// A linear map whose weights are whole numbers of 8 or 4 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"
#include "blip2/matrices/tensor_epilogue.h"

namespace diptych::blip2 {

// A matrix as it is held and stored, in the order of kernels/integer_weights.h.
struct RoundedParts {
  at::Tensor values;       // int8
  at::Tensor multipliers;  // int8; undefined for weights of 8 bits
  at::Tensor scales;       // [out] or, with what pads the last panel, more; float32
  at::Tensor factors;      // [in], of the inputs: 1 / s; float32
};

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
  // factor; undefined: all alike. With `activations` of 7 bits, x is rounded to these where the processor has products
  // of 8-bit numbers, and to 14 bits where it has none and so would gain nothing.
  IntegerMatrix(IntegerType type, at::TensorList weights, const std::optional<at::Tensor>& bias,
                const at::Tensor& magnitudes, ActivationBits activations = ActivationBits::k14);
  // From parts that parts() gave, or a file. Requires: sizes as in kernels/integer_weights.h.
  IntegerMatrix(IntegerType type, RoundedParts parts, const std::optional<at::Tensor>& bias,
                ActivationBits activations = ActivationBits::k14);

  // x [..., in], any float type and strides -> [..., out] of x's type. A row has the same bits in every batch.
  // Requires: that width; throws c10::Error else.
  at::Tensor operator()(const at::Tensor& x, const TensorEpilogue& epilogue = {}) const;

  IntegerType type() const { return type_; }
  int64_t out() const { return out_; }
  const RoundedParts& parts() const { return parts_; }
  // About how large each output is, in the unit of the constructor's magnitudes: [out] float32; undefined where the
  // matrix was made of parts.
  const at::Tensor& output_magnitudes() const { return output_magnitudes_; }
  // Of the weights as they are held.
  int64_t bytes() const;

 private:
  const IntegerType type_;
  const ActivationBits activations_;
  const int64_t in_;
  const int64_t out_;
  RoundedParts parts_;
  at::Tensor bias_;               // undefined if there is none
  at::Tensor output_magnitudes_;  // [out]
};

// Sees each matrix that a model rounds while it is read, and what a checkpoint of rounded weights calls it.
using OnRounded = std::function<void(const std::string& name, std::shared_ptr<const IntegerMatrix> matrix)>;

}  // namespace diptych::blip2
