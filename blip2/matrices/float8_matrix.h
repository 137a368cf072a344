// A linear map of 8-bit floats (e4m3: four bits of exponent, three of fraction), for cards that multiply these.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace diptych::blip2 {

// rows [N, in] bfloat16 -> values [N, in] float8_e4m3fn and scales [N, 1] float32, whose product is near the rows: the
// largest number of a row becomes the largest of the type, 448. What is not finite makes its row NaN in a product.
using RoundToFloat8 = std::function<void(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales)>;

// By operators of libtorch, on any device.
void RoundToFloat8ByOperators(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales);

// Const after construction; thread-safe. Inputs are rounded row by row when they come, weights once, both to a scale of
// each row; sums are float32. Unlike whole numbers, floats lose nothing beside outliers, so columns are not evened out.
class Float8Matrix {
 public:
  // A card multiplies multiples of 16 inputs and outputs.
  static bool Takes(int64_t out, int64_t in) { return out % 16 == 0 && in % 16 == 0; }

  // weight [out, in] and bias [out] or none, bfloat16, on any device. Requires: Takes(out, in).
  Float8Matrix(const at::Tensor& weight, const std::optional<at::Tensor>& bias,
               RoundToFloat8 round = RoundToFloat8ByOperators);

  // x [..., in] bfloat16, where the weights are -> x·weightᵀ + bias, [..., out] bfloat16. Throws c10::Error for another
  // width.
  at::Tensor operator()(const at::Tensor& x) const;

  // Of the weights as they are held.
  int64_t bytes() const;

 private:
  RoundToFloat8 round_;
  at::Tensor values_;  // [out, in] float8_e4m3fn
  at::Tensor scales_;  // [out, 1] float32
  std::optional<at::Tensor> bias_;
};

}  // namespace diptych::blip2
