#include "blip2/checkpoint/tensor_names.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {
namespace {

class Specs {
 public:
  void Add(std::string name, std::vector<int64_t> shape) {
    specs_.push_back({.name = std::move(name), .shape = std::move(shape)});
  }

  void Linear(const std::string& module, int64_t out, int64_t in, bool bias = true) {
    Add(module + ".weight", {out, in});
    if (bias) Add(module + ".bias", {out});
  }

  void LayerNorm(const std::string& module, int64_t width) {
    Add(module + ".weight", {width});
    Add(module + ".bias", {width});
  }

  void Rounded(IntegerType type, const std::string& name, int64_t out, int64_t in) {
    const RoundedNames names(name);
    specs_.push_back({.name = names.values, .shape = {Panels(out) * PanelBytes(type, in)}, .whole_numbers = true});
    if (type == IntegerType::kInt4) {
      specs_.push_back(
          {.name = names.multipliers, .shape = {Panels(out) * PanelMultipliers(in)}, .whole_numbers = true});
    }
    Add(names.scales, {out});
    Add(names.factors, {in});
  }

  std::vector<TensorSpec> Take() && { return std::move(specs_); }

 private:
  std::vector<TensorSpec> specs_;
};

void AddVision(const VisionConfig& vision, Specs& specs) {
  const int64_t width = vision.hidden_size;
  specs.Add("vision_model.embeddings.class_embedding", {1, 1, width});
  specs.Add("vision_model.embeddings.position_embedding", {1, vision.visual_tokens(), width});
  specs.Add("vision_model.embeddings.patch_embedding.weight", {width, 3, vision.patch_size, vision.patch_size});
  specs.Add("vision_model.embeddings.patch_embedding.bias", {width});
  for (int64_t i = 0; i < vision.num_hidden_layers; ++i) {
    const std::string layer = absl::StrCat("vision_model.encoder.layers.", i);
    specs.LayerNorm(layer + ".layer_norm1", width);
    specs.Linear(layer + ".self_attn.qkv", 3 * width, width, vision.qkv_bias);
    specs.Linear(layer + ".self_attn.projection", width, width);
    specs.LayerNorm(layer + ".layer_norm2", width);
    specs.Linear(layer + ".mlp.fc1", vision.intermediate_size, width);
    specs.Linear(layer + ".mlp.fc2", width, vision.intermediate_size);
  }
  specs.LayerNorm("vision_model.post_layernorm", width);
}

// Queries of width `width` read keys and values of width `source_width`.
void AddQFormerAttention(const std::string& module, int64_t width, int64_t source_width, Specs& specs) {
  specs.Linear(module + ".attention.query", width, width);
  specs.Linear(module + ".attention.key", width, source_width);
  specs.Linear(module + ".attention.value", width, source_width);
  specs.Linear(module + ".output.dense", width, width);
  specs.LayerNorm(module + ".output.LayerNorm", width);
}

void AddQFormer(const Config& config, Specs& specs) {
  const QFormerConfig& qformer = config.qformer;
  const int64_t width = qformer.hidden_size;
  specs.Add("query_tokens", {1, config.num_query_tokens, width});
  specs.LayerNorm("qformer.layernorm", width);
  for (int64_t i = 0; i < qformer.num_hidden_layers; ++i) {
    const std::string layer = absl::StrCat("qformer.encoder.layer.", i);
    AddQFormerAttention(layer + ".attention", width, width, specs);
    if (i % qformer.cross_attention_frequency == 0) {
      AddQFormerAttention(layer + ".crossattention", width, config.vision.hidden_size, specs);
    }
    specs.Linear(layer + ".intermediate_query.dense", qformer.intermediate_size, width);
    specs.Linear(layer + ".output_query.dense", width, qformer.intermediate_size);
    specs.LayerNorm(layer + ".output_query.LayerNorm", width);
  }
  specs.Linear("language_projection", config.text.hidden_size, width);
}

void AddDecoderLayerNorm(const std::string& module, const TextConfig& text, Specs& specs) {
  if (text.layer_norm_elementwise_affine) specs.LayerNorm(module, text.hidden_size);
}

void AddDecoder(const TextConfig& text, Specs& specs) {
  constexpr int64_t kPositionOffset = 2;  // OPT's table has two rows before position 0
  const int64_t width = text.hidden_size;
  const std::string decoder = "language_model.model.decoder";
  specs.Add(std::string(kEmbedTokens), {text.vocab_size, text.word_embed_proj_dim});
  specs.Add(decoder + ".embed_positions.weight", {text.max_position_embeddings + kPositionOffset, width});
  if (text.word_embed_proj_dim != width) {
    specs.Linear(decoder + ".project_in", width, text.word_embed_proj_dim, /*bias=*/false);
    specs.Linear(decoder + ".project_out", text.word_embed_proj_dim, width, /*bias=*/false);
  }
  for (int64_t i = 0; i < text.num_hidden_layers; ++i) {
    const std::string layer = absl::StrCat(decoder, ".layers.", i);
    for (const char* projection : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      specs.Linear(absl::StrCat(layer, ".self_attn.", projection), width, width, text.enable_bias);
    }
    AddDecoderLayerNorm(layer + ".self_attn_layer_norm", text, specs);
    specs.Linear(layer + ".fc1", text.ffn_dim, width, text.enable_bias);
    specs.Linear(layer + ".fc2", width, text.ffn_dim, text.enable_bias);
    AddDecoderLayerNorm(layer + ".final_layer_norm", text, specs);
  }
  if (text.do_layer_norm_before && !text.remove_final_layer_norm) {
    AddDecoderLayerNorm(decoder + ".final_layer_norm", text, specs);
  }
}

}  // namespace

std::vector<TensorSpec> ExpectedTensors(const Config& config) {
  Specs specs;
  AddVision(config.vision, specs);
  AddQFormer(config, specs);
  AddDecoder(config.text, specs);
  return std::move(specs).Take();
}

bool IsRounded(const TensorSpec& spec) {
  if (spec.shape.size() != 2 || !spec.name.ends_with(".weight")) return false;
  return spec.name.starts_with("vision_model.encoder.layers.") ||
         spec.name.starts_with("language_model.model.decoder.layers.") ||
         spec.name.starts_with("language_model.model.decoder.project_");
}

RoundedNames::RoundedNames(const std::string& name)
    : values(name + ".values"),
      multipliers(name + ".multipliers"),
      scales(name + ".scales"),
      factors(name + ".factors") {}

std::vector<TensorSpec> ExpectedRoundedTensors(const Config& config) {
  const IntegerType type = config.rounded->bits == 8 ? IntegerType::kInt8 : IntegerType::kInt4;
  Specs specs;
  for (TensorSpec& spec : ExpectedTensors(config)) {
    if (!IsRounded(spec)) {
      specs.Add(std::move(spec.name), std::move(spec.shape));
      continue;
    }
    std::string name = spec.name.substr(0, spec.name.size() - std::string_view(".weight").size());
    if (name.ends_with(".k_proj") || name.ends_with(".v_proj")) continue;
    const bool stacked = name.ends_with(".q_proj");
    if (stacked) name.replace(name.size() - std::string_view("q_proj").size(), name.npos, kStackedProjections);
    specs.Rounded(type, name, (stacked ? 3 : 1) * spec.shape[0], spec.shape[1]);
  }
  specs.Rounded(IntegerType::kInt8, kRoundedHead, config.text.vocab_size, config.text.word_embed_proj_dim);
  return std::move(specs).Take();
}

std::vector<int64_t> LmHeadShape(const Config& config) {
  return {config.text.vocab_size, config.text.word_embed_proj_dim};
}

}  // namespace diptych::blip2
