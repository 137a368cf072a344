// Every fact about a BLIP-2 checkpoint that is not a weight, as its JSON files state it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

// Defaults are those of transformers' Blip2VisionConfig.
struct VisionConfig {
  int64_t hidden_size = 1408;
  int64_t intermediate_size = 6144;
  int64_t num_hidden_layers = 39;
  int64_t num_attention_heads = 16;
  int64_t image_size = 224;  // pixels
  int64_t patch_size = 14;   // pixels
  double layer_norm_eps = 1e-6;
  bool qkv_bias = true;

  int64_t patches_per_side() const { return image_size / patch_size; }
  // P at the model's own image size: patches plus the class token.
  int64_t visual_tokens() const { return patches_per_side() * patches_per_side() + 1; }
};

// Defaults are those of transformers' Blip2QFormerConfig.
struct QFormerConfig {
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  int64_t cross_attention_frequency = 2;  // layers i with i % frequency == 0 read the image
  double layer_norm_eps = 1e-12;
};

// Defaults are those of transformers' OPTConfig.
struct TextConfig {
  int64_t vocab_size = 50272;
  int64_t hidden_size = 768;
  int64_t word_embed_proj_dim = 768;  // differs from hidden_size in OPT-350m; default: hidden_size
  int64_t ffn_dim = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t max_position_embeddings = 2048;  // the context window, tokens
  bool do_layer_norm_before = true;
  bool remove_final_layer_norm = false;
  bool enable_bias = true;
  bool layer_norm_elementwise_affine = true;
  bool tie_word_embeddings = true;
  int64_t bos_token_id = 2;
  int64_t pad_token_id = 1;
  std::vector<int64_t> eos_token_ids = {2};  // generation stops at any of them
};

// preprocessor_config.json, or the image_processor part of processor_config.json.
struct ImageProcessorConfig {
  int64_t image_size = 224;  // pixels; both sides
  int64_t resample = 3;      // Pillow's number: 3 bicubic, the only one that is served
  double rescale_factor = 1.0 / 255.0;
  std::array<double, 3> image_mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> image_std = {0.26862954, 0.26130258, 0.27577711};
};

// quantization_config of config.json: the checkpoint holds weights that were rounded before (blip2/rounding.h).
struct RoundedConfig {
  int64_t bits = 8;                // 8 or 4
  std::string vision_fingerprint;  // of the checkpoint that was rounded
};

struct Config {
  std::optional<RoundedConfig> rounded;
  VisionConfig vision;
  QFormerConfig qformer;
  TextConfig text;
  ImageProcessorConfig image_processor;
  int64_t num_query_tokens = 32;
  int64_t image_token_id = 50265;
  // Default of max_new_tokens: generation_config.json's, else 20 as transformers has it.
  int64_t default_max_new_tokens = 20;
};

// Reads config.json, preprocessor_config.json or processor_config.json, and generation_config.json
// from the checkpoint folder. Accepts both generations of the hub repository and what transformers 5
// saves; a field that is absent takes the class default.
// NOT_FOUND if a needed file is absent; INVALID_ARGUMENT, naming file and field, if one is malformed,
// out of the bounds in config.cc, contradicts another, or asks for what is not
// served (another decoder than OPT, another activation, another resampling filter).
absl::StatusOr<Config> LoadConfig(const std::filesystem::path& folder);

}  // namespace diptych::blip2
