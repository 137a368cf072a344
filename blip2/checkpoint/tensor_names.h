// The tensors that a configuration implies: names as transformers saves Blip2ForConditionalGeneration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/checkpoint/config.h"

namespace diptych::blip2 {

inline constexpr std::string_view kEmbedTokens = "language_model.model.decoder.embed_tokens.weight";
// The output matrix, where it is not the embedding.
inline constexpr std::string_view kLmHead = "language_model.lm_head.weight";

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool whole_numbers = false;  // of 8 bits
};

// Every tensor of the model but kLmHead, in the order in which the model uses them.
std::vector<TensorSpec> ExpectedTensors(const Config& config);

// Whether weights of 8 and 4 bits take the tensor's place.
bool IsRounded(const TensorSpec& spec);

// The parts in which a checkpoint holds a matrix of rounded weights that is called `name`, as IntegerMatrix has them.
struct RoundedNames {
  explicit RoundedNames(const std::string& name);
  std::string values;
  std::string multipliers;  // of 4 bits alone
  std::string scales;
  std::string factors;
};
// The checkpoint's name for the matrix of a decoder layer's q_proj, k_proj and v_proj, after "self_attn.".
inline constexpr char kStackedProjections[] = "qkv_proj";
// Likewise the output matrix.
inline constexpr char kRoundedHead[] = "language_model.lm_head";

// Every tensor of a checkpoint whose weights are rounded, `config.rounded` being there.
std::vector<TensorSpec> ExpectedRoundedTensors(const Config& config);

// [V, De], where De is word_embed_proj_dim.
std::vector<int64_t> LmHeadShape(const Config& config);

}  // namespace diptych::blip2
