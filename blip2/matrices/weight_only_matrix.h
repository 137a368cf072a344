// A linear map whose weights are whole numbers of 8 or 4 bits and whose inputs stay bfloat16, for cards.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>

#include "blip2/matrices/integer_matrix.h"

namespace diptych::blip2 {

// The weights that the numbers of `parts` stand for, [out, in] float32 on the CPU, as IntegerMatrix multiplies by them.
at::Tensor Dequantized(IntegerType type, const RoundedParts& parts, int64_t out);

// Const after construction; thread-safe. Holds the numbers that IntegerMatrix rounds, as libtorch's operators read
// them: those for CUDA on a card, elsewhere their twins for the CPU, for tests. Scales and the factors of the inputs
// are rounded to bfloat16. A row may have other bits in another batch.
class WeightOnlyMatrix {
 public:
  // What the operators for a card and for the CPU both take. That for int8 on the CPU reads 16 inputs at a time, past
  // the end of a row of others; those for int4 take whole groups and multiples of 16 outputs.
  static bool Takes(IntegerType type, int64_t out, int64_t in) {
    return type == IntegerType::kInt8 ? in % 16 == 0 : out % 16 == 0 && in % kGroup == 0;
  }
  // Of the weights as they are held, the bias apart.
  static int64_t Bytes(IntegerType type, int64_t out, int64_t in);

  // `matrix` is on the CPU and may go afterwards. bias [out] bfloat16 on `device`, or none. Requires: Takes its sides.
  WeightOnlyMatrix(const IntegerMatrix& matrix, const std::optional<at::Tensor>& bias, c10::Device device);

  // x [..., in] bfloat16, where the weights are -> x·weightᵀ + bias, [..., out] bfloat16. In int8, many rows are
  // multiplied by weights that are widened to bfloat16 for this product. Throws c10::Error for another width or type.
  at::Tensor operator()(const at::Tensor& x) const;

  // As IntegerMatrix has them, on the CPU.
  const at::Tensor& output_magnitudes() const { return output_magnitudes_; }
  int64_t bytes() const;

 private:
  // rows [N, in] -> [N, out], without the bias.
  at::Tensor Multiply(const at::Tensor& rows) const;

  const IntegerType type_;
  const int64_t out_;
  at::Tensor values_;   // int8: [out, in]; int4: as the operator packs them
  at::Tensor scales_;   // bfloat16; int8: [out]; int4: scales and zeros [in / kGroup, out, 2]
  at::Tensor factors_;  // of the inputs, [in] bfloat16
  std::optional<at::Tensor> bias_;
  at::Tensor output_magnitudes_;
};

}  // namespace diptych::blip2
