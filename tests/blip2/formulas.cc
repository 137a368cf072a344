#include "tests/blip2/formulas.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace diptych::testing {
namespace {

at::Tensor Gelu(const at::Tensor& x) {
  return 0.5 * x * (1 + at::erf(x / std::sqrt(2.0)));
}

at::Tensor Relu(const at::Tensor& x) {
  return at::where(x > 0, x, at::zeros_like(x));
}

// x [T, H·Dh], source likewise [L, …]: head h owns columns h·Dh … (h + 1)·Dh.
at::Tensor MultiHead(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t heads,
                     bool causal) {
  const int64_t width = query.size(1) / heads;
  std::vector<at::Tensor> outputs;
  for (int64_t h = 0; h < heads; ++h) {
    const auto of_head = [&](const at::Tensor& x) { return x.slice(1, h * width, (h + 1) * width); };
    at::Tensor scores = at::matmul(of_head(query), of_head(key).t()) / std::sqrt(static_cast<double>(width));
    for (int64_t i = 0; causal && i < scores.size(0); ++i) {
      scores[i].slice(0, i + 1).fill_(-std::numeric_limits<double>::infinity());
    }
    const at::Tensor weights = at::exp(scores - std::get<0>(scores.max(1, /*keepdim=*/true)));
    outputs.push_back(at::matmul(weights / weights.sum(1, /*keepdim=*/true), of_head(value)));
  }
  return at::cat(outputs, 1);
}

// Keys' cubic kernel with a = −0.75, at distance x.
double Cubic(double x) {
  constexpr double a = -0.75;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// The weight of each of `in` samples in each of `out` samples, edges repeated: [out, in].
at::Tensor ResizeMatrix(int64_t in, int64_t out) {
  at::Tensor matrix = at::zeros({out, in}, at::kDouble);
  for (int64_t o = 0; o < out; ++o) {
    const double at = (static_cast<double>(o) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    for (int64_t tap = std::floor(at) - 1; tap <= std::floor(at) + 2; ++tap) {
      matrix[o][std::clamp<int64_t>(tap, 0, in - 1)] += Cubic(at - static_cast<double>(tap));
    }
  }
  return matrix;
}

}  // namespace

Formulas::Formulas(const blip2::Config& config, const std::map<std::string, at::Tensor>& weights) : config_(config) {
  for (const auto& [name, tensor] : weights) weights_[name] = tensor.to(at::kDouble);
}

at::Tensor Formulas::W(const std::string& name) const {
  return weights_.at(name);
}

at::Tensor Formulas::Linear(const std::string& name, const at::Tensor& x) const {
  const at::Tensor product = at::matmul(x, W(name + ".weight").t());
  return weights_.contains(name + ".bias") ? product + W(name + ".bias") : product;
}

at::Tensor Formulas::LayerNorm(const std::string& name, const at::Tensor& x, double eps) const {
  const at::Tensor centred = x - x.mean(1, /*keepdim=*/true);
  const at::Tensor normed = centred / at::sqrt((centred * centred).mean(1, /*keepdim=*/true) + eps);
  return weights_.contains(name + ".weight") ? normed * W(name + ".weight") + W(name + ".bias") : normed;
}

at::Tensor Formulas::Positions(int64_t patches_per_side) const {
  const at::Tensor table = W("vision_model.embeddings.position_embedding")[0];
  const int64_t own = config_.vision.patches_per_side();
  const at::Tensor resize = ResizeMatrix(own, patches_per_side);
  const at::Tensor grid = table.slice(0, 1).reshape({own, own, -1}).permute({2, 0, 1});  // [Dv, rows, columns]
  const at::Tensor resized = at::matmul(at::matmul(resize, grid), resize.t());
  return at::cat({table.slice(0, 0, 1), resized.flatten(1).t()}, 0);
}

at::Tensor Formulas::VisualTokens(const at::Tensor& pixels) const {
  const blip2::VisionConfig& vision = config_.vision;
  const int64_t side = vision.patch_size;
  const int64_t patches = pixels.size(1) / side;
  const at::Tensor kernel = W("vision_model.embeddings.patch_embedding.weight");  // [Dv, 3, p, p]
  std::vector<at::Tensor> rows = {W("vision_model.embeddings.class_embedding")[0][0]};
  for (int64_t i = 0; i < patches * patches; ++i) {
    const int64_t top = i / patches * side;
    const int64_t left = i % patches * side;
    const at::Tensor patch = pixels.to(at::kDouble).slice(1, top, top + side).slice(2, left, left + side);
    rows.push_back((kernel * patch).sum({1, 2, 3}) + W("vision_model.embeddings.patch_embedding.bias"));
  }
  at::Tensor x = at::stack(rows) + Positions(patches);
  for (int64_t i = 0; i < vision.num_hidden_layers; ++i) {
    const std::string layer = "vision_model.encoder.layers." + std::to_string(i) + ".";
    const at::Tensor qkv = Linear(layer + "self_attn.qkv", LayerNorm(layer + "layer_norm1", x, vision.layer_norm_eps));
    const auto third = [&](int64_t n) { return qkv.slice(1, n * x.size(1), (n + 1) * x.size(1)); };
    x = x + Linear(layer + "self_attn.projection",
                   MultiHead(third(0), third(1), third(2), vision.num_attention_heads, /*causal=*/false));
    const at::Tensor inner =
        Gelu(Linear(layer + "mlp.fc1", LayerNorm(layer + "layer_norm2", x, vision.layer_norm_eps)));
    x = x + Linear(layer + "mlp.fc2", inner);
  }
  return LayerNorm("vision_model.post_layernorm", x, vision.layer_norm_eps);
}

at::Tensor Formulas::BertAttention(const std::string& name, const at::Tensor& x, const at::Tensor& source) const {
  const at::Tensor context =
      MultiHead(Linear(name + "attention.query", x), Linear(name + "attention.key", source),
                Linear(name + "attention.value", source), config_.qformer.num_attention_heads, /*causal=*/false);
  return LayerNorm(name + "output.LayerNorm", Linear(name + "output.dense", context) + x,
                   config_.qformer.layer_norm_eps);
}

at::Tensor Formulas::Queries(const at::Tensor& visual_tokens) const {
  const blip2::QFormerConfig& qformer = config_.qformer;
  at::Tensor x = LayerNorm("qformer.layernorm", W("query_tokens")[0], qformer.layer_norm_eps);
  for (int64_t i = 0; i < qformer.num_hidden_layers; ++i) {
    const std::string layer = "qformer.encoder.layer." + std::to_string(i) + ".";
    x = BertAttention(layer + "attention.", x, x);
    if (i % qformer.cross_attention_frequency == 0) {
      x = BertAttention(layer + "crossattention.", x, visual_tokens.to(at::kDouble));
    }
    const at::Tensor inner = Gelu(Linear(layer + "intermediate_query.dense", x));
    x = LayerNorm(layer + "output_query.LayerNorm", Linear(layer + "output_query.dense", inner) + x,
                  qformer.layer_norm_eps);
  }
  return x;
}

at::Tensor Formulas::Project(const at::Tensor& queries) const {
  return Linear("language_projection", queries.to(at::kDouble));
}

at::Tensor Formulas::DecoderAttention(const std::string& name, const at::Tensor& x) const {
  return Linear(name + "out_proj", MultiHead(Linear(name + "q_proj", x), Linear(name + "k_proj", x),
                                             Linear(name + "v_proj", x), config_.text.num_attention_heads,
                                             /*causal=*/true));
}

at::Tensor Formulas::Logits(const at::Tensor& embeddings) const {
  constexpr double kEps = 1e-5;
  const blip2::TextConfig& text = config_.text;
  const std::string decoder = "language_model.model.decoder.";
  const bool projected = text.word_embed_proj_dim != text.hidden_size;
  at::Tensor x = embeddings.to(at::kDouble);
  if (projected) x = Linear(decoder + "project_in", x);
  x = x + W(decoder + "embed_positions.weight").slice(0, 2, 2 + x.size(0));
  for (int64_t i = 0; i < text.num_hidden_layers; ++i) {
    const std::string layer = decoder + "layers." + std::to_string(i) + ".";
    const std::string first = layer + "self_attn_layer_norm";
    const std::string second = layer + "final_layer_norm";
    const auto feed_forward = [&](const at::Tensor& in) {
      return Linear(layer + "fc2", Relu(Linear(layer + "fc1", in)));
    };
    if (text.do_layer_norm_before) {
      x = x + DecoderAttention(layer + "self_attn.", LayerNorm(first, x, kEps));
      x = x + feed_forward(LayerNorm(second, x, kEps));
    } else {
      x = LayerNorm(first, x + DecoderAttention(layer + "self_attn.", x), kEps);
      x = LayerNorm(second, x + feed_forward(x), kEps);
    }
  }
  if (text.do_layer_norm_before && !text.remove_final_layer_norm) x = LayerNorm(decoder + "final_layer_norm", x, kEps);
  if (projected) x = Linear(decoder + "project_out", x);
  const at::Tensor head =
      text.tie_word_embeddings ? W(decoder + "embed_tokens.weight") : W("language_model.lm_head.weight");
  return at::matmul(x, head.t());
}

}  // namespace diptych::testing
