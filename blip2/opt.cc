#include "blip2/opt.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "blip2/checkpoint/tensor_names.h"
#include "blip2/decode_graphs.h"
#include "blip2/device/transfer.h"
#include "blip2/kernels/rounded_kv.h"
#include "blip2/layers.h"
#include "blip2/matrices/huge_pages.h"
#include "blip2/paged_attention.h"

namespace diptych::blip2 {
namespace {

constexpr char kPrefix[] = "language_model.model.decoder.";
constexpr double kLayerNormEps = 1e-5;  // torch's default: OPT's configuration has no field for it
constexpr int64_t kPositionOffset = 2;  // the first two rows of the table stand for padding

constexpr int64_t kMaxScores = 1 << 20;  // of attention, held at a time where they are written out

// The names are the checkpoint's, below language_model.model.decoder.layers.N.
struct Layer {
  LayerNorm self_attn_layer_norm;
  Linear qkv_proj;  // q_proj, k_proj and v_proj: [3·Dl, Dl]
  Linear out_proj;
  LayerNorm final_layer_norm;
  Linear fc1;
  Linear fc2;
  // Powers of two, [H, Dh], that bring keys and values near 1, so that a head's numbers fit one scale; undefined unless
  // they are rounded.
  at::Tensor key_factors;
  at::Tensor value_factors;
};

Layer ReadLayer(WeightReader& reader, const TextConfig& config, int64_t index) {
  const std::string prefix = kPrefix + ("layers." + std::to_string(index) + ".");
  const std::string attention = prefix + "self_attn.";
  const auto norm = [&](const char* name) {
    return reader.ReadLayerNorm(prefix + name, config.hidden_size, kLayerNormEps, config.layer_norm_elementwise_affine);
  };
  Layer layer;
  layer.self_attn_layer_norm = norm("self_attn_layer_norm");
  layer.final_layer_norm = norm("final_layer_norm");
  const bool before = config.do_layer_norm_before;
  layer.qkv_proj = reader.ReadStacked(
      attention + kStackedProjections, {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
      config.enable_bias, before ? Magnitudes(layer.self_attn_layer_norm) : at::Tensor());
  layer.out_proj = reader.ReadLinear(attention + "out_proj", config.enable_bias,
                                     Magnitudes(layer.qkv_proj, 2 * config.hidden_size, config.hidden_size));
  layer.fc1 = reader.ReadLinear(prefix + "fc1", config.enable_bias,
                                Magnitudes(before ? layer.final_layer_norm : layer.self_attn_layer_norm));
  layer.fc2 = reader.ReadLinear(prefix + "fc2", config.enable_bias, Magnitudes(layer.fc1, 0, config.ffn_dim));
  return layer;
}

// Estimates the sizes of a layer's keys and values from noise with the gain and bias of its layer norm.
void SetKvFactors(const TextConfig& config, const Placement& placement, Layer& layer) {
  constexpr int64_t kProbes = 64;
  constexpr float kMost = 0x1p16F;  // of a factor
  at::Tensor x = at::randn({kProbes, config.hidden_size}, at::detail::createCPUGenerator(/*seed_val=*/1));
  const LayerNorm& norm = layer.self_attn_layer_norm;
  if (config.do_layer_norm_before && norm.weight) x = x * *norm.weight + *norm.bias;
  const at::Tensor made = layer.qkv_proj(x.to(placement.dtype)).to(at::kFloat);
  const at::Tensor size = made.view({kProbes, 3, config.num_attention_heads, -1}).square().mean(0).sqrt();
  const at::Tensor factors = size.log2().neg().round().exp2().clamp(1 / kMost, kMost).to(placement.dtype);
  layer.key_factors = factors[1].contiguous();
  layer.value_factors = factors[2].contiguous();
}

// [V, De]. Beside linear maps of whole numbers it stays in the file's type, or float32 in half the space: a row that is
// looked up is not worth more.
at::Tensor ReadEmbedding(WeightReader& reader, const Checkpoint& checkpoint, const Placement& placement) {
  if (!placement.integers || placement.weight_only()) return reader.ReadTensor(std::string(kEmbedTokens));
  const c10::ScalarType stored = checkpoint.StoredType(kEmbedTokens);
  const at::Tensor half = reader.ReadTensorAs(std::string(kEmbedTokens), stored == at::kFloat ? at::kHalf : stored);
  TORCH_CHECK(half.isfinite().all().item<bool>(), kEmbedTokens, ": exceeds float16; take --dtype float32 or bfloat16");
  return half;
}

// [V, De] without bias, which reads what `norm` gives.
Linear ReadHead(WeightReader& reader, const TextConfig& config, const Placement& placement, const at::Tensor& embedding,
                const std::optional<LayerNorm>& norm) {
  const std::string name = config.tie_word_embeddings ? std::string(kEmbedTokens) : std::string(kLmHead);
  // A tied head of bfloat16 takes no memory of its own; only the CPU gives some for a faster one.
  if (placement.integers && !(placement.weight_only() && config.tie_word_embeddings)) {
    const bool direct = norm && config.word_embed_proj_dim == config.hidden_size;
    return reader.ReadHead(name, direct ? Magnitudes(*norm) : at::Tensor());
  }
  return {.weight = config.tie_word_embeddings ? embedding : reader.ReadTensor(name), .bias = {}, .integers = {}};
}

// Elements of a head's key or value in the pool.
int64_t KvWidth(const TextConfig& config, const Placement& placement) {
  return config.hidden_size / config.num_attention_heads + (placement.rounded_kv ? kKvScaleBytes : 0);
}

// Each [N, H, Dh].
struct QueryKeyValue {
  at::Tensor query;  // scaled
  at::Tensor key;
  at::Tensor value;
};

// x [N, Dl]
QueryKeyValue Project(const Layer& layer, int64_t heads, const at::Tensor& x) {
  const std::vector<at::Tensor> qkv = layer.qkv_proj(x).view({x.size(0), 3, heads, -1}).unbind(1);
  // Scaled before the product, as transformers does. Not by mul_, which rounds the factor to the model's dtype.
  const double scale = 1 / std::sqrt(static_cast<double>(qkv[0].size(2)));
  const at::Tensor query = qkv[0] * scale;
  if (!layer.key_factors.defined()) return {.query = query, .key = qkv[1], .value = qkv[2]};
  return {.query = query / layer.key_factors, .key = qkv[1] * layer.key_factors, .value = qkv[2] * layer.value_factors};
}

// `attended` [N, Dl] is made of Project's values.
at::Tensor ProjectOut(const Layer& layer, const at::Tensor& attended, const at::Tensor& residual) {
  if (!layer.value_factors.defined()) return layer.out_proj(attended, {.residual = residual});
  return layer.out_proj(attended / layer.value_factors.view({-1}), {.residual = residual});
}

// x and residual [N, Dl] -> [N, Dl]. Stores keys and values in the pool's tensors of this layer.
at::Tensor SelfAttention(const Layer& layer, int64_t heads, const at::Tensor& x, const at::Tensor& residual,
                         const PagedAttention& attention, const at::Tensor& keys, const at::Tensor& values) {
  const QueryKeyValue qkv = Project(layer, heads, x);
  return ProjectOut(layer, attention(qkv.query, qkv.key, qkv.value, keys, values), residual);
}

// [tokens, length]: what a text's tokens from `begin` on see, themselves and those before them.
at::Tensor SeenFrom(int64_t begin, int64_t tokens, int64_t length, at::Device device) {
  return at::ones({tokens, length}, at::TensorOptions(device).dtype(at::kBool)).tril_(begin);
}

// Adds to sum [T - first, prefix] how much each query from `first` on reads the first keys, averaged over the heads.
// query (scaled) [H, N, Dh] of a text's last N tokens, key [H, L, Dh] of all
void AddPrefixAttention(const at::Tensor& query, const at::Tensor& key, int64_t first, const at::Tensor& sum) {
  const int64_t length = key.size(1), begin = length - query.size(1);
  const int64_t rows_at_once = std::max<int64_t>(1, kMaxScores / (query.size(0) * length));
  for (int64_t row = std::max(first, begin); row < length; row += rows_at_once) {
    const int64_t rows = std::min(rows_at_once, length - row);
    const at::Tensor visible = SeenFrom(row, rows, length, key.device());
    const at::Tensor shares =
        MeanAttention(query.narrow(1, row - begin, rows).unsqueeze(0), key.unsqueeze(0), /*scale=*/1.0, visible);
    const int64_t prefix = std::min(sum.size(1), length);  // later tokens are not seen
    sum.narrow(0, row - first, rows).narrow(1, 0, prefix).add_(shares[0].narrow(1, 0, prefix));
  }
}

// A text's attention in one layer, piece by piece in the text's order; holds keys and values of what was read.
class TextAttention {
 public:
  TextAttention(int64_t tokens, int64_t heads, const at::Tensor& x)
      : heads_(heads),
        keys_(at::empty({heads, tokens, x.size(1) / heads}, x.options())),
        values_(at::empty_like(keys_)) {}

  // x and residual [N, Dl] of the next N tokens -> [N, Dl]; adds to `sum` as AddPrefixAttention.
  at::Tensor operator()(const Layer& layer, const at::Tensor& x, const at::Tensor& residual, int64_t first,
                        const at::Tensor& sum) {
    const QueryKeyValue qkv = Project(layer, heads_, x);
    const int64_t tokens = x.size(0);
    keys_.narrow(1, read_, tokens).copy_(qkv.key.transpose(0, 1));
    values_.narrow(1, read_, tokens).copy_(qkv.value.transpose(0, 1));
    Visibility visibility{.causal = read_ == 0, .mask = {}};
    if (!visibility.causal) visibility.mask = SeenFrom(read_, tokens, read_ + tokens, x.device());
    read_ += tokens;
    const at::Tensor query = qkv.query.transpose(0, 1), key = keys_.narrow(1, 0, read_);
    AddPrefixAttention(query, key, first, sum);
    const at::Tensor attended = Attention(query.unsqueeze(0), key.unsqueeze(0),
                                          values_.narrow(1, 0, read_).unsqueeze(0), /*scale=*/1.0, visibility);
    return ProjectOut(layer, attended[0], residual);
  }

 private:
  const int64_t heads_;
  const at::Tensor keys_;  // [H, T, Dh], of which read_ tokens are there
  const at::Tensor values_;
  int64_t read_ = 0;
};

at::Tensor FeedForward(const Layer& layer, const at::Tensor& x, const at::Tensor& residual) {
  return layer.fc2(layer.fc1(x, {.activation = Activation::kRelu}), {.residual = residual});
}

// One layer around `attend`, which maps x [N, Dl] to the same shape and adds the residual of that shape.
template <typename Attend>
at::Tensor RunLayer(const Layer& layer, bool norm_before, at::Tensor x, const Attend& attend) {
  if (norm_before) {
    x = attend(layer.self_attn_layer_norm(x), x);
    return FeedForward(layer, layer.final_layer_norm(x), x);
  }
  x = layer.self_attn_layer_norm(attend(x, x));
  return layer.final_layer_norm(FeedForward(layer, x, x));
}

}  // namespace

struct OptDecoder::Weights {
  at::Tensor embed_tokens;            // [V, De]
  at::Tensor embed_positions;         // [max_position_embeddings + 2, Dl]
  std::optional<Linear> project_in;   // [Dl, De], if De differs from Dl
  std::optional<Linear> project_out;  // [De, Dl], likewise
  std::vector<Layer> layers;
  std::optional<LayerNorm> final_layer_norm;
  Linear lm_head;  // [V, De]; if tied, embed_tokens itself or rounded
  PartSize size;
};

OptDecoder::OptDecoder(const Checkpoint& checkpoint, const Placement& placement, const OnRounded& on_rounded)
    : config_(checkpoint.config().text), placement_(placement) {
  const c10::InferenceMode inference;
  const std::string prefix(kPrefix);
  WeightReader reader(checkpoint, placement, ActivationBits::k7, on_rounded);
  auto weights = std::make_unique<Weights>();
  weights->embed_tokens = ReadEmbedding(reader, checkpoint, placement);
  weights->embed_positions = reader.ReadTensor(prefix + "embed_positions.weight");
  if (config_.word_embed_proj_dim != config_.hidden_size) {
    weights->project_in = reader.ReadLinear(prefix + "project_in", /*bias=*/false);
    weights->project_out = reader.ReadLinear(prefix + "project_out", /*bias=*/false);
  }
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) weights->layers.push_back(ReadLayer(reader, config_, i));
  if (placement.rounded_kv) {
    for (Layer& layer : weights->layers) SetKvFactors(config_, placement, layer);
  }
  if (config_.do_layer_norm_before && !config_.remove_final_layer_norm) {
    weights->final_layer_norm = reader.ReadLayerNorm(prefix + "final_layer_norm", config_.hidden_size, kLayerNormEps,
                                                     config_.layer_norm_elementwise_affine);
  }
  weights->lm_head = ReadHead(reader, config_, placement, weights->embed_tokens, weights->final_layer_norm);
  weights->size = reader.size();
  weights_ = std::move(weights);
  if (placement.device.is_cuda()) MakeKernel();
}

void OptDecoder::MakeKernel() {
  auto kernel =
      MakePagedDecodeAttention(placement_.device, placement_.dtype, config_.hidden_size / config_.num_attention_heads);
  reads_in_place_ = kernel.status();
  if (kernel.ok()) attend_paged_ = *std::move(kernel);
}

OptDecoder::~OptDecoder() = default;
OptDecoder::OptDecoder(OptDecoder&&) noexcept = default;

at::Tensor OptDecoder::Embed(std::span<const int64_t> ids, const at::Tensor& chosen) const {
  const c10::InferenceMode inference;
  const int64_t least = chosen.defined() ? -chosen.size(0) : 0;
  for (const int64_t id : ids) TORCH_CHECK(id >= least && id < config_.vocab_size, "no token id ", id);
  at::Tensor indices = Upload(std::vector<int64_t>(ids.begin(), ids.end()), placement_.device);
  if (chosen.defined()) {
    const at::Tensor places = (-1 - indices).clamp_min(0);
    indices = at::where(indices < 0, chosen.index_select(0, places), indices);
  }
  return at::embedding(weights_->embed_tokens, indices).to(placement_.dtype).unsqueeze(0);
}

KvPool OptDecoder::MakeKvPool(int64_t blocks, int64_t block_tokens) const {
  TORCH_CHECK(blocks >= 1 && block_tokens >= 1, "a pool of ", blocks, " blocks of ", block_tokens, " tokens");
  const c10::InferenceMode inference;
  const int64_t heads = config_.num_attention_heads;
  const int64_t layers = config_.num_hidden_layers;
  KvPool pool{.all = at::empty({2, layers, blocks, heads, block_tokens, KvWidth(config_, placement_)},
                               at::TensorOptions(placement_.device).dtype(placement_.kv_dtype())),
              .keys = {},
              .values = {},
              .blocks = blocks,
              .block_tokens = block_tokens};
  AskForHugePages(pool.all);
  pool.keys = pool.all[0].unbind(0);
  pool.values = pool.all[1].unbind(0);
  return pool;
}

int64_t OptDecoder::KvBlockBytes(int64_t block_tokens) const {
  return KvTokenBytes(config_, placement_) * block_tokens;
}

int64_t KvTokenBytes(const TextConfig& config, const Placement& placement) {
  return 2 * config.num_hidden_layers * config.num_attention_heads * KvWidth(config, placement) *
         static_cast<int64_t>(c10::elementSize(placement.kv_dtype()));
}

void OptDecoder::CheckRow(const DecoderRow& row, const KvPool& pool) const {
  TORCH_CHECK(
      row.embeddings.dim() == 2 && row.embeddings.size(0) >= 1 && row.embeddings.size(1) == config_.word_embed_proj_dim,
      "expected embeddings [T, ", config_.word_embed_proj_dim, "], got ", row.embeddings.sizes());
  const int64_t length = row.past + row.embeddings.size(0);
  TORCH_CHECK(row.past >= 0 && length <= config_.max_position_embeddings, length, " tokens in a window of ",
              config_.max_position_embeddings);
  const auto table = static_cast<int64_t>(row.blocks.size());
  TORCH_CHECK(table * pool.block_tokens >= length, length, " tokens in ", table, " blocks of ", pool.block_tokens);
  for (const int32_t block : row.blocks) TORCH_CHECK(block >= 0 && block < pool.blocks, "no block ", block);
}

at::Tensor OptDecoder::Forward(std::span<const DecoderRow> rows, KvPool& pool) const {
  TORCH_CHECK(!rows.empty(), "a pass without rows");
  const c10::InferenceMode inference;
  std::vector<at::Tensor> embeddings;
  std::vector<PagedRow> paged;
  std::vector<int64_t> wanted;
  int64_t tokens = 0;
  for (const DecoderRow& row : rows) {
    CheckRow(row, pool);
    embeddings.push_back(row.embeddings);
    paged.push_back({.past = row.past, .tokens = row.embeddings.size(0), .blocks = row.blocks});
    tokens += row.embeddings.size(0);
    const int64_t first = row.wants_all_logits ? tokens - row.embeddings.size(0) : tokens - 1;
    if (row.wants_logits || row.wants_all_logits) {
      for (int64_t token = first; token < tokens; ++token) wanted.push_back(token);
    }
  }
  const at::Tensor entered = at::cat(embeddings);
  if (const auto count = static_cast<int64_t>(rows.size());
      pool.graphs && tokens == count && wanted.size() == rows.size()) {
    if (const std::optional<at::Tensor> logits = pool.graphs->Run(entered, paged)) return *logits;
  }
  const PagedAttention attention(paged, wanted, pool.block_tokens, placement_.device, attend_paged_);
  return RunLayers(entered, attention, pool.keys, pool.values);
}

absl::Status OptDecoder::RecordSteps(RecordStep record, std::function<void(const std::string& why)> on_failure,
                                     KvPool& pool) const {
  if (!reads_in_place_.ok()) return reads_in_place_;
  const auto layers = [this, keys = pool.keys, values = pool.values](const at::Tensor& x, const PagedAttention& paged) {
    return RunLayers(x, paged, keys, values);
  };
  const int64_t window = config_.max_position_embeddings;
  pool.graphs = std::make_shared<DecodeGraphs>(
      std::move(record), layers,
      DecodeGraphs::Options{.block_tokens = pool.block_tokens,
                            .table_width = (window + pool.block_tokens - 1) / pool.block_tokens,
                            .attend_paged = attend_paged_,
                            .on_failure = std::move(on_failure)});
  return absl::OkStatus();
}

at::Tensor OptDecoder::RunLayers(const at::Tensor& embeddings, const PagedAttention& attention,
                                 const std::vector<at::Tensor>& keys, const std::vector<at::Tensor>& values) const {
  at::Tensor x = Enter(embeddings, attention.positions());
  for (size_t i = 0; i < weights_->layers.size(); ++i) {
    const Layer& layer = weights_->layers[i];
    const auto attend = [&](const at::Tensor& in, const at::Tensor& residual) {
      return SelfAttention(layer, config_.num_attention_heads, in, residual, attention, keys[i], values[i]);
    };
    x = RunLayer(layer, config_.do_layer_norm_before, x, attend);
  }
  return Logits(x.index_select(0, attention.selected()));
}

at::Tensor OptDecoder::Enter(at::Tensor x, const at::Tensor& positions) const {
  if (weights_->project_in) x = (*weights_->project_in)(x);
  return x + at::embedding(weights_->embed_positions, positions + kPositionOffset);
}

at::Tensor OptDecoder::AttentionToPrefix(const at::Tensor& embeddings, int64_t first, int64_t prefix,
                                         const Pieces& pieces) const {
  TORCH_CHECK(embeddings.dim() == 2 && embeddings.size(1) == config_.word_embed_proj_dim, "expected embeddings [T, ",
              config_.word_embed_proj_dim, "], got ", embeddings.sizes());
  const int64_t length = embeddings.size(0);
  TORCH_CHECK(length <= config_.max_position_embeddings, length, " tokens in a window of ",
              config_.max_position_embeddings);
  TORCH_CHECK(0 <= first && first < length && 1 <= prefix && prefix <= length, "no attention from ", first, " to ",
              prefix, " of ", length, " tokens");
  TORCH_CHECK(pieces.tokens >= 1, "pieces of ", pieces.tokens, " tokens");
  const c10::InferenceMode inference;
  at::Tensor x = Enter(embeddings, at::arange(length, at::TensorOptions(placement_.device).dtype(at::kLong)));
  at::Tensor sum = at::zeros({length - first, prefix}, at::TensorOptions(placement_.device).dtype(at::kFloat));
  bool begun = false;
  for (const Layer& layer : weights_->layers) {
    TextAttention attention(length, config_.num_attention_heads, x);
    const auto attend = [&](const at::Tensor& in, const at::Tensor& residual) {
      return attention(layer, in, residual, first, sum);
    };
    for (at::Tensor piece : x.split(std::min(pieces.tokens, length))) {
      if (std::exchange(begun, true) && pieces.go_on && !pieces.go_on()) return {};
      piece.copy_(RunLayer(layer, config_.do_layer_norm_before, piece, attend));
    }
  }
  return sum.div_(static_cast<double>(weights_->layers.size()));
}

void OptDecoder::CopyKvBlocks(KvPool& pool, std::span<const int32_t> from, std::span<const int32_t> to) const {
  TORCH_CHECK(from.size() == to.size(), from.size(), " blocks onto ", to.size());
  if (from.empty()) return;
  std::map<int64_t, int64_t> sources;  // what each block will hold; read before any is written
  for (size_t i = 0; i < from.size(); ++i) {
    TORCH_CHECK(from[i] >= 0 && from[i] < pool.blocks && to[i] >= 0 && to[i] < pool.blocks, "no block ", from[i],
                " or ", to[i]);
    const auto earlier = sources.find(from[i]);
    sources[to[i]] = earlier == sources.end() ? from[i] : earlier->second;
  }
  std::vector<int64_t> indices;
  for (const auto& [copy, source] : sources) indices.push_back(source);
  for (const auto& [copy, source] : sources) indices.push_back(copy);
  const c10::InferenceMode inference;
  const at::Tensor sent = Upload(indices, placement_.device).view({2, -1});
  pool.all.index_copy_(2, sent[1], pool.all.index_select(2, sent[0]));
}

at::Tensor OptDecoder::Logits(at::Tensor x) const {
  if (weights_->final_layer_norm) x = (*weights_->final_layer_norm)(x);
  if (weights_->project_out) x = (*weights_->project_out)(x);
  return weights_->lm_head(x).to(at::kFloat);
}

PartSize OptDecoder::size() const {
  return weights_->size;
}

}  // namespace diptych::blip2
