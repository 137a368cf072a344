// The model's formulas in double precision, one elementary operation at a time: slow, and independent of
// the operators and of the structure of blip2/. Source: the papers' formulas as transformers fixes them.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "blip2/checkpoint/config.h"

namespace diptych::testing {

class Formulas {
 public:
  Formulas(const blip2::Config& config, const std::map<std::string, at::Tensor>& weights);

  // One image [3, S, S] -> visual tokens [P, Dv].
  at::Tensor VisualTokens(const at::Tensor& pixels) const;
  // Visual tokens [P, Dv] -> queries [Q, Dq].
  at::Tensor Queries(const at::Tensor& visual_tokens) const;
  // [Q, Dq] -> [Q, Dl]
  at::Tensor Project(const at::Tensor& queries) const;
  // Embeddings [T, De] of a whole text -> logits [T, V] after each token.
  at::Tensor Logits(const at::Tensor& embeddings) const;

 private:
  at::Tensor W(const std::string& name) const;
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const;
  at::Tensor LayerNorm(const std::string& name, const at::Tensor& x, double eps) const;
  at::Tensor Positions(int64_t patches_per_side) const;
  at::Tensor BertAttention(const std::string& name, const at::Tensor& x, const at::Tensor& source) const;
  at::Tensor DecoderAttention(const std::string& name, const at::Tensor& x) const;

  const blip2::Config config_;
  std::map<std::string, at::Tensor> weights_;  // float64
};

}  // namespace diptych::testing
