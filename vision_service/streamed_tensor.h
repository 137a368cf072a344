// Visual tokens in the numbers in which they are streamed.
#pragma once

#include <ATen/core/Tensor.h>

#include "diptych/v1/vision.pb.h"

namespace diptych::vision {

// Contiguous and on the CPU: [P, Dv], or bytes [Dv * (4 + P)] for NUMBER_TYPE_INT8, as the proto lays them out.
struct StreamedTensor {
  at::Tensor values;
  v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED;  // if `values` is of no type that is streamed
};

// tokens [P, Dv], all finite and contiguous on the CPU, as `wanted`. As they are if that is not specified, or not all
// of them fit it: then they go out whole, in more bytes.
StreamedTensor ToStreamed(const at::Tensor& tokens, v1::NumberType wanted);

}  // namespace diptych::vision
