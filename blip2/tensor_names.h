// The tensors that a configuration implies: names as transformers saves Blip2ForConditionalGeneration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/config.h"

namespace diptych::blip2 {

inline constexpr std::string_view kEmbedTokens = "language_model.model.decoder.embed_tokens.weight";
// The output matrix, where it is not the embedding.
inline constexpr std::string_view kLmHead = "language_model.lm_head.weight";

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor of the model but kLmHead, in the order in which the model uses them.
std::vector<TensorSpec> ExpectedTensors(const Config& config);

// [V, De], where De is word_embed_proj_dim.
std::vector<int64_t> LmHeadShape(const Config& config);

}  // namespace diptych::blip2
