#include "tests/testing/random_checkpoint.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "blip2/checkpoint/tensor_names.h"

namespace diptych::testing {
namespace {

using nlohmann::json;

json ConfigJson(const blip2::Config& config) {
  const blip2::VisionConfig& v = config.vision;
  const blip2::QFormerConfig& q = config.qformer;
  const blip2::TextConfig& t = config.text;
  return {{"model_type", "blip-2"},
          {"num_query_tokens", config.num_query_tokens},
          {"image_token_index", config.image_token_id},
          {"vision_config",
           {{"hidden_size", v.hidden_size},
            {"intermediate_size", v.intermediate_size},
            {"num_hidden_layers", v.num_hidden_layers},
            {"num_attention_heads", v.num_attention_heads},
            {"image_size", v.image_size},
            {"patch_size", v.patch_size},
            {"layer_norm_eps", v.layer_norm_eps},
            {"qkv_bias", v.qkv_bias}}},
          {"qformer_config",
           {{"hidden_size", q.hidden_size},
            {"num_hidden_layers", q.num_hidden_layers},
            {"num_attention_heads", q.num_attention_heads},
            {"intermediate_size", q.intermediate_size},
            {"cross_attention_frequency", q.cross_attention_frequency},
            {"layer_norm_eps", q.layer_norm_eps}}},
          {"text_config",
           {{"model_type", "opt"},
            {"vocab_size", t.vocab_size},
            {"hidden_size", t.hidden_size},
            {"word_embed_proj_dim", t.word_embed_proj_dim},
            {"ffn_dim", t.ffn_dim},
            {"num_hidden_layers", t.num_hidden_layers},
            {"num_attention_heads", t.num_attention_heads},
            {"max_position_embeddings", t.max_position_embeddings},
            {"do_layer_norm_before", t.do_layer_norm_before},
            {"_remove_final_layer_norm", t.remove_final_layer_norm},
            {"enable_bias", t.enable_bias},
            {"layer_norm_elementwise_affine", t.layer_norm_elementwise_affine},
            {"tie_word_embeddings", t.tie_word_embeddings}}}};
}

// Matrices keep their input's scale; vectors, the norms' weights among them, lie around one.
at::Tensor RandomTensor(const std::vector<int64_t>& shape, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  at::Tensor tensor = at::empty(shape, at::kFloat);
  const bool vector = shape.size() == 1;
  const float scale = vector ? 0.3F : 1.5F / std::sqrt(static_cast<float>(tensor.numel() / shape[0]));
  for (float* value = tensor.data_ptr<float>(); value != tensor.data_ptr<float>() + tensor.numel(); ++value) {
    *value = (vector ? 1.0F : 0.0F) + scale * normal(random);
  }
  return tensor;
}

void WriteSafetensors(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& tensors) {
  json header;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const int64_t end = offset + static_cast<int64_t>(tensor.nbytes());
    header[name] = {{"dtype", "F32"}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof(length)) << text;
  for (const auto& [name, tensor] : tensors) {
    out.write(static_cast<const char*>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
  }
}

}  // namespace

blip2::Config TinyConfig() {
  blip2::Config config;
  config.vision = {.hidden_size = 24,
                   .intermediate_size = 40,
                   .num_hidden_layers = 3,
                   .num_attention_heads = 3,
                   .image_size = 20,
                   .patch_size = 5};
  config.qformer = {.hidden_size = 16,
                    .num_hidden_layers = 3,
                    .num_attention_heads = 2,
                    .intermediate_size = 28,
                    .cross_attention_frequency = 2};
  config.text = {.vocab_size = 52,
                 .hidden_size = 32,
                 .word_embed_proj_dim = 32,
                 .ffn_dim = 44,
                 .num_hidden_layers = 3,
                 .num_attention_heads = 4,
                 .max_position_embeddings = 40};
  config.num_query_tokens = 6;
  config.image_token_id = 51;
  config.image_processor.image_size = config.vision.image_size;
  return config;
}

RandomCheckpoint::RandomCheckpoint(const blip2::Config& config, uint64_t seed) : config_(config) {
  std::string name = (std::filesystem::temp_directory_path() / "diptych_checkpoint_XXXXXX").string();
  folder_ = mkdtemp(name.data());
  std::mt19937_64 random(seed);
  std::vector<blip2::TensorSpec> specs = blip2::ExpectedTensors(config);
  if (!config.text.tie_word_embeddings) {
    specs.push_back({std::string(blip2::kLmHead), blip2::LmHeadShape(config)});
  }
  for (const blip2::TensorSpec& spec : specs) weights_[spec.name] = RandomTensor(spec.shape, random);
  WriteSafetensors(folder_ / "model.safetensors", weights_);
  std::ofstream(folder_ / "config.json") << ConfigJson(config);
  const int64_t side = config.image_processor.image_size;
  std::ofstream(folder_ / "preprocessor_config.json") << json{{"size", {{"height", side}, {"width", side}}}};
}

RandomCheckpoint::~RandomCheckpoint() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::unique_ptr<blip2::Checkpoint> RandomCheckpoint::Open() const {
  auto checkpoint = blip2::Checkpoint::Open(folder_);
  if (!checkpoint.ok()) {
    std::cerr << checkpoint.status() << std::endl;
    std::abort();
  }
  return *std::move(checkpoint);
}

}  // namespace diptych::testing
