// One image as the decoder reads it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace diptych::language {

// Immutable once made, so that requests and the cache can share it.
struct QueryTokens {
  std::string key;          // ImageKey of image, preparation and model: two images with one key are one image
  at::Tensor query_tokens;  // [1, Q, De], all finite, in the model's dtype and on its device
  // [Q, P] float32 on the CPU, all finite: where each query looked, the class token first. Undefined if not requested.
  at::Tensor query_attention = {};
};

}  // namespace diptych::language
