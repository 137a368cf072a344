#include "blip2/vision_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "blip2/device/transfer.h"
#include "blip2/kernels/processor.h"
#include "blip2/layers.h"
#include "blip2/token_merging.h"

namespace diptych::blip2 {
namespace {

// The names are the checkpoint's, below vision_model.encoder.layers.N.
struct Layer {
  LayerNorm layer_norm1;
  Linear qkv;  // [3·Dv, Dv]
  Linear projection;
  LayerNorm layer_norm2;
  Linear fc1;
  Linear fc2;
};

Layer ReadLayer(WeightReader& reader, const VisionConfig& config, int64_t index) {
  const std::string prefix = "vision_model.encoder.layers." + std::to_string(index) + ".";
  const auto norm = [&](const char* name) {
    return reader.ReadLayerNorm(prefix + name, config.hidden_size, config.layer_norm_eps);
  };
  Layer layer;
  layer.layer_norm1 = norm("layer_norm1");
  layer.qkv = reader.ReadLinear(prefix + "self_attn.qkv", config.qkv_bias, Magnitudes(layer.layer_norm1));
  layer.projection = reader.ReadLinear(prefix + "self_attn.projection", /*bias=*/true,
                                       Magnitudes(layer.qkv, 2 * config.hidden_size, config.hidden_size));
  layer.layer_norm2 = norm("layer_norm2");
  layer.fc1 = reader.ReadLinear(prefix + "mlp.fc1", /*bias=*/true, Magnitudes(layer.layer_norm2));
  layer.fc2 = reader.ReadLinear(prefix + "mlp.fc2", /*bias=*/true, Magnitudes(layer.fc1, 0, config.intermediate_size));
  return layer;
}

double ScaleOf(const at::Tensor& query) {
  return 1 / std::sqrt(static_cast<double>(query.size(3)));
}

// query, key and value [B, H, P, Dh] -> [B, P, Dv]; `sizes` as in MergedTokens.
at::Tensor SelfAttention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& sizes) {
  Visibility visibility;
  if (sizes.defined()) visibility.mask = AttentionBias(sizes, query.scalar_type());
  return Attention(query, key, value, ScaleOf(query), visibility);
}

// Besides weights of 8 and 4 bits, what bfloat16 leaves out of queries, keys and values is small. Merged tokens are
// added up in float32.
bool AttendsInBFloat16(const Layer& layer, int merging) {
  return layer.qkv.integers != nullptr && merging == 0 && MultipliesPairs();
}

// [B, P, Dv] -> [B, P - merged, Dv]; `merging` as in Forward, `class_attention` as in Run.
MergedTokens RunLayer(const Layer& layer, int64_t heads, int merging, const MergedTokens& input,
                      at::Tensor* class_attention) {
  const at::Tensor& x = input.tokens;
  at::Tensor projected = layer.qkv(layer.layer_norm1(x));
  if (AttendsInBFloat16(layer, merging)) projected = projected.to(at::kBFloat16);
  const std::vector<at::Tensor> qkv = projected.chunk(3, /*dim=*/-1);
  const at::Tensor query = SplitHeads(qkv[0], heads);
  const at::Tensor key = SplitHeads(qkv[1], heads);
  if (class_attention != nullptr) {
    *class_attention = MeanAttention(query.narrow(2, 0, 1), key, ScaleOf(query)).squeeze(1);
  }
  const at::Tensor heads_output = SelfAttention(query, key, SplitHeads(qkv[2], heads), input.sizes).to(x.scalar_type());
  MergedTokens attended{.tokens = layer.projection(heads_output, {.residual = x}), .sizes = input.sizes};
  if (const int64_t count = MergedPatches(x.size(1) - 1, merging); count > 0) {
    attended = MergeTokens(attended, key.mean(1), count);
  }
  const at::Tensor& y = attended.tokens;
  const at::Tensor inner = layer.fc1(layer.layer_norm2(y), {.activation = Activation::kGelu});
  return {.tokens = layer.fc2(inner, {.residual = y}), .sizes = attended.sizes};
}

// pixels [B, 3, S, S] -> one row a patch, [B, n·n, 3·p·p] with n = S/p, channels outermost as in the
// weights of a convolution of stride p.
at::Tensor Patches(const at::Tensor& pixels, int64_t p) {
  const int64_t n = pixels.size(2) / p;
  return pixels.view({-1, 3, n, p, n, p}).permute({0, 2, 4, 1, 3, 5}).reshape({-1, n * n, 3 * p * p});
}

// The position table [1, 1 + m·m, Dv] at n patches a side: [1, 1 + n·n, Dv]. The class token's stays.
at::Tensor Positions(const at::Tensor& table, int64_t n) {
  const int64_t width = table.size(2);
  const int64_t m = std::llround(std::sqrt(static_cast<double>(table.size(1) - 1)));
  if (n == m) return table;
  const at::Tensor grid = table.slice(1, 1).view({1, m, m, width}).permute({0, 3, 1, 2});
  const at::Tensor resized = at::upsample_bicubic2d(grid, {n, n}, /*align_corners=*/false);
  return at::cat({table.slice(1, 0, 1), resized.permute({0, 2, 3, 1}).reshape({1, n * n, width})}, 1);
}

}  // namespace

struct VisionModel::Weights {
  at::Tensor class_embedding;     // [1, 1, Dv]
  Linear patch_embedding;         // [Dv, 3·p·p]
  at::Tensor position_embedding;  // [1, P, Dv]
  std::vector<Layer> layers;
  LayerNorm post_layernorm;
  PartSize size;
};

VisionModel::VisionModel(const Checkpoint& checkpoint, const Placement& placement, const OnRounded& on_rounded)
    : config_(checkpoint.config().vision), placement_(placement) {
  const c10::InferenceMode inference;
  WeightReader reader(checkpoint, placement, ActivationBits::k7, on_rounded);
  if (placement.weight_only()) {
    reader.HoldInFloats();
    placement_.integers.reset();
  }
  auto weights = std::make_unique<Weights>();
  weights->class_embedding = reader.ReadTensor("vision_model.embeddings.class_embedding");
  weights->patch_embedding.weight = reader.ReadTensor("vision_model.embeddings.patch_embedding.weight").flatten(1);
  weights->patch_embedding.bias = reader.ReadTensor("vision_model.embeddings.patch_embedding.bias");
  weights->position_embedding = reader.ReadTensor("vision_model.embeddings.position_embedding");
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) weights->layers.push_back(ReadLayer(reader, config_, i));
  weights->post_layernorm =
      reader.ReadLayerNorm("vision_model.post_layernorm", config_.hidden_size, config_.layer_norm_eps);
  weights->size = reader.size();
  weights_ = std::move(weights);
}

VisionModel::~VisionModel() = default;
VisionModel::VisionModel(VisionModel&&) noexcept = default;

at::Tensor VisionModel::Forward(const at::Tensor& pixel_values, int merging) const {
  return Run(pixel_values, merging, /*class_attention=*/nullptr);
}

VisionAnalysis VisionModel::Analyze(const at::Tensor& pixel_values) const {
  VisionAnalysis analysis;
  analysis.tokens = Run(pixel_values, /*merging=*/0, &analysis.class_attention);
  return analysis;
}

at::Tensor VisionModel::Run(const at::Tensor& pixel_values, int merging, at::Tensor* class_attention) const {
  const int64_t p = config_.patch_size;
  TORCH_CHECK(pixel_values.dim() == 4 && pixel_values.size(1) == 3 && pixel_values.size(2) == pixel_values.size(3) &&
                  pixel_values.size(2) >= p && pixel_values.size(2) % p == 0,
              "expected pixels [B, 3, S, S] with S a multiple of ", p, ", got ", pixel_values.sizes());
  TORCH_CHECK(merging >= 0 && merging <= kMaxMerging, "expected a merging of 0 to ", kMaxMerging, ", got ", merging);
  const c10::InferenceMode inference;
  const at::Tensor there = pixel_values.is_cpu() ? Upload(pixel_values, placement_.device) : pixel_values;
  const at::Tensor pixels = there.to(placement_.dtype).contiguous();
  const at::Tensor patches = weights_->patch_embedding(Patches(pixels, p));
  at::Tensor x = at::cat({weights_->class_embedding.expand({pixels.size(0), 1, -1}), patches}, 1);
  x.add_(Positions(weights_->position_embedding, pixels.size(2) / p));
  MergedTokens tokens{.tokens = x, .sizes = {}};
  for (const Layer& layer : weights_->layers) {
    const bool last = &layer == &weights_->layers.back();
    tokens = RunLayer(layer, config_.num_attention_heads, merging, tokens, last ? class_attention : nullptr);
  }
  return weights_->post_layernorm(tokens.tokens);
}

PartSize VisionModel::size() const {
  return weights_->size;
}

}  // namespace diptych::blip2
