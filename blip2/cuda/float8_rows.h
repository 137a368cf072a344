// Rows of numbers as 8-bit floats, on a card.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/status/statusor.h"
#include "blip2/cuda/kernel.h"

namespace diptych::blip2 {

// rows [N, in] bfloat16 -> values [N, in] float8_e4m3fn and scales [N, 1] float32, by one launch. The same bits as
// matrices/float8_matrix.h's operators. Requires: contiguous, `in` a multiple of 16. FAILED_PRECONDITION, saying why,
// where the kernel cannot be had.
absl::StatusOr<std::function<void(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales)>>
MakeFloat8Rows(c10::Device device);

// Of float8_rows.cu.
KernelSource Float8RowsSource();

}  // namespace diptych::blip2
