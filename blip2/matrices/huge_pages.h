// Huge pages behind large tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace diptych::blip2 {

// Asks for huge pages behind a large tensor on the CPU; before it is written, because that is when pages are
// made. Products of a vector and such a matrix measured 5 to 15 % faster.
void AskForHugePages(const at::Tensor& tensor);

}  // namespace diptych::blip2
