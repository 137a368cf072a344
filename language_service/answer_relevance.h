// Which patches the tokens of an answer looked at.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace diptych {

// Float32 on the CPU; G is the number of the answer's tokens.
struct AnswerRelevance {
  std::vector<at::Tensor> images;  // for each picture [G, P - 1]: shares of its patches, at most 1 in all
  at::Tensor image_share;          // [G]: what the pictures' query tokens had of the decoder's attention
};

}  // namespace diptych
