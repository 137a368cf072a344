#include "blip2/cuda/float8_rows.h"

#include <c10/util/Exception.h>

#include <array>

#include "blip2/cuda/sources.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

constexpr int kRoundingThreads = 128;  // as the kernel's

void RoundByKernel(const CudaKernel& kernel, const at::Tensor& rows, const at::Tensor& values,
                   const at::Tensor& scales) {
  TORCH_CHECK(rows.is_contiguous() && values.is_contiguous() && scales.is_contiguous() && rows.size(1) % 16 == 0,
              "expected rows without gaps of a multiple of 16 numbers, got ", rows.sizes());
  const void* in = rows.const_data_ptr();
  void* out = values.mutable_data_ptr();
  void* factors = scales.mutable_data_ptr();
  int width = static_cast<int>(rows.size(1));
  std::array<void*, 4> arguments = {&in, &out, &factors, &width};
  kernel.Launch({.x = rows.size(0), .y = 1, .threads = kRoundingThreads}, arguments);
}

}  // namespace

KernelSource Float8RowsSource() {
  return {.text = kFloat8Rows, .name = "Float8Rows"};
}

absl::StatusOr<std::function<void(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales)>>
MakeFloat8Rows(c10::Device device) {
  DIPTYCH_ASSIGN_OR_RETURN(const CudaKernel kernel, CudaKernel::Load(device, Float8RowsSource()));
  return [kernel](const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales) {
    RoundByKernel(kernel, rows, values, scales);
  };
}

}  // namespace diptych::blip2
