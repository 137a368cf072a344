#include "blip2/qformer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "blip2/device/transfer.h"
#include "blip2/layers.h"

namespace diptych::blip2 {
namespace {

// The half of a BERT block that attends, and its residual norm: attention.* or crossattention.*.
struct AttentionBlock {
  Linear query;      // [Dq, Dq]
  Linear key_value;  // [2·Dq, width of what is read]
  Linear output_dense;
  LayerNorm output_norm;
};

// The names are the checkpoint's, below qformer.encoder.layer.N.
struct Layer {
  AttentionBlock attention;
  std::optional<AttentionBlock> crossattention;
  Linear intermediate_query;
  Linear output_query;
  LayerNorm output_query_norm;
};

AttentionBlock ReadAttention(WeightReader& reader, const QFormerConfig& config, const std::string& prefix) {
  return {.query = reader.ReadLinear(prefix + "attention.query"),
          .key_value = reader.ReadStacked(prefix + "attention.key_value",
                                          {prefix + "attention.key", prefix + "attention.value"}),
          .output_dense = reader.ReadLinear(prefix + "output.dense"),
          .output_norm = reader.ReadLayerNorm(prefix + "output.LayerNorm", config.hidden_size, config.layer_norm_eps)};
}

Layer ReadLayer(WeightReader& reader, const QFormerConfig& config, int64_t index) {
  const std::string prefix = "qformer.encoder.layer." + std::to_string(index) + ".";
  Layer layer;
  layer.attention = ReadAttention(reader, config, prefix + "attention.");
  if (index % config.cross_attention_frequency == 0) {
    layer.crossattention = ReadAttention(reader, config, prefix + "crossattention.");
  }
  layer.intermediate_query = reader.ReadLinear(prefix + "intermediate_query.dense");
  layer.output_query = reader.ReadLinear(prefix + "output_query.dense");
  layer.output_query_norm =
      reader.ReadLayerNorm(prefix + "output_query.LayerNorm", config.hidden_size, config.layer_norm_eps);
  return layer;
}

// queries [B, Q, Dq] read source [B, L, width] -> [B, Q, Dq]. Fills in `attention` [B, Q, L] unless it is null.
at::Tensor Attend(const AttentionBlock& block, int64_t heads, const at::Tensor& queries, const at::Tensor& source,
                  at::Tensor* attention = nullptr) {
  const std::vector<at::Tensor> key_value = block.key_value(source).chunk(2, /*dim=*/-1);
  const int64_t head_width = queries.size(2) / heads;
  const double scale = 1 / std::sqrt(static_cast<double>(head_width));
  const at::Tensor query = SplitHeads(block.query(queries), heads);
  const at::Tensor key = SplitHeads(key_value[0], heads);
  if (attention != nullptr) *attention = MeanAttention(query, key, scale);
  const at::Tensor context = Attention(query, key, SplitHeads(key_value[1], heads), scale);
  return block.output_norm(block.output_dense(context, {.residual = queries}));
}

at::Tensor RunLayer(const Layer& layer, int64_t heads, at::Tensor x, const at::Tensor& visual_tokens,
                    at::Tensor* cross_attention) {
  x = Attend(layer.attention, heads, x, x);
  if (layer.crossattention.has_value()) x = Attend(*layer.crossattention, heads, x, visual_tokens, cross_attention);
  const at::Tensor inner = layer.intermediate_query(x, {.activation = Activation::kGelu});
  return layer.output_query_norm(layer.output_query(inner, {.residual = x}));
}

}  // namespace

struct QFormer::Weights {
  at::Tensor query_tokens;  // [1, Q, Dq]
  LayerNorm layernorm;
  std::vector<Layer> layers;
  Linear language_projection;   // [Dl, Dq]
  int64_t embedding_width = 0;  // De
  Placement qformer_placement;
  PartSize qformer_size;
  PartSize projection_size;
};

QFormer::QFormer(const Checkpoint& checkpoint, const Placement& placement)
    : config_(checkpoint.config().qformer), placement_(placement) {
  const c10::InferenceMode inference;
  auto weights = std::make_unique<Weights>();
  weights->qformer_placement = placement;
  if (placement.dtype == at::kHalf) weights->qformer_placement.dtype = at::kFloat;
  weights->qformer_placement.integers.reset();
  weights->qformer_placement.float8 = false;
  WeightReader reader(checkpoint, weights->qformer_placement);
  if (placement.integers) reader.HoldInPairs();
  weights->query_tokens = reader.ReadTensor("query_tokens");
  weights->layernorm = reader.ReadLayerNorm("qformer.layernorm", config_.hidden_size, config_.layer_norm_eps);
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) weights->layers.push_back(ReadLayer(reader, config_, i));
  weights->qformer_size = reader.size();
  WeightReader projection_reader(checkpoint, {.device = placement.device, .dtype = placement.dtype});
  weights->language_projection = projection_reader.ReadLinear("language_projection");
  weights->projection_size = projection_reader.size();
  weights->embedding_width = checkpoint.config().text.word_embed_proj_dim;
  weights_ = std::move(weights);
}

QFormer::~QFormer() = default;
QFormer::QFormer(QFormer&&) noexcept = default;

at::Tensor QFormer::Forward(const at::Tensor& visual_tokens) const {
  return Run(visual_tokens, /*cross_attention=*/nullptr);
}

QFormerAnalysis QFormer::Analyze(const at::Tensor& visual_tokens) const {
  QFormerAnalysis analysis;
  analysis.queries = Run(visual_tokens, &analysis.cross_attention);
  return analysis;
}

at::Tensor QFormer::Run(const at::Tensor& visual_tokens, at::Tensor* cross_attention) const {
  TORCH_CHECK(visual_tokens.dim() == 3 && visual_tokens.size(1) >= 1, "expected visual tokens [B, P, Dv], got ",
              visual_tokens.sizes());
  const c10::InferenceMode inference;
  const Placement& placement = weights_->qformer_placement;
  const at::Tensor tokens = Upload(visual_tokens, placement.device).to(placement.dtype);
  at::Tensor x = weights_->layernorm(weights_->query_tokens).expand({tokens.size(0), -1, -1});
  const auto last = std::find_if(weights_->layers.rbegin(), weights_->layers.rend(),
                                 [](const Layer& layer) { return layer.crossattention.has_value(); });
  for (const Layer& layer : weights_->layers) {
    x = RunLayer(layer, config_.num_attention_heads, x, tokens, &layer == &*last ? cross_attention : nullptr);
  }
  return x;
}

at::Tensor QFormer::Project(const at::Tensor& queries) const {
  TORCH_CHECK(queries.dim() == 3 && queries.size(2) == config_.hidden_size, "expected queries [B, Q, ",
              config_.hidden_size, "], got ", queries.sizes());
  const c10::InferenceMode inference;
  const at::Tensor projected = weights_->language_projection(queries.to(placement_.dtype));
  const int64_t width = weights_->embedding_width;
  if (projected.size(2) == width) return projected;
  return projected.flatten(1).slice(1, 0, queries.size(1) * width).reshape({queries.size(0), -1, width});
}

PartSize QFormer::qformer_size() const {
  return weights_->qformer_size;
}
PartSize QFormer::projection_size() const {
  return weights_->projection_size;
}

}  // namespace diptych::blip2
