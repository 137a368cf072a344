// Building blocks of all parts of the model: linear maps, layer norms, attention, reading of weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/matrices/float8_matrix.h"
#include "blip2/matrices/integer_matrix.h"
#include "blip2/matrices/pair_matrix.h"
#include "blip2/matrices/tensor_epilogue.h"
#include "blip2/matrices/weight_only_matrix.h"

namespace diptych::blip2 {

struct Linear {
  at::Tensor weight;                                // [out, in]
  std::optional<at::Tensor> bias;                   // [out]
  std::shared_ptr<const IntegerMatrix> integers;    // holds both in their place, where the model's weights are such
  std::shared_ptr<const PairMatrix> pairs = {};     // likewise, in bfloat16 where that is the fastest form
  std::shared_ptr<const Float8Matrix> float8 = {};  // likewise, in 8-bit floats on a card
  std::shared_ptr<const WeightOnlyMatrix> weight_only = {};  // likewise, in 8 or 4 bits on a card

  // x [..., in] -> x·weightᵀ + bias and what `epilogue` makes of it, [..., out] of x's dtype. Weights row by row are
  // multiplied on the CPU by kernels/float_linear.h up to 16 rows, and any number in bfloat16 and float16 where the
  // processor has no instructions for them.
  at::Tensor operator()(const at::Tensor& x, const TensorEpilogue& epilogue = {}) const;
};

struct LayerNorm {
  int64_t width = 0;
  double eps = 0;
  std::optional<at::Tensor> weight;  // [width]; absent with `bias` in a norm that is not affine
  std::optional<at::Tensor> bias;    // [width]

  // x [..., width] -> the same shape
  at::Tensor operator()(const at::Tensor& x) const;
};

// x [B, T, H·Dh] -> a view of it [B, H, T, Dh].
at::Tensor SplitHeads(const at::Tensor& x, int64_t heads);

// Which keys a query may read: all, those up to its own position (as many keys as queries), or those
// that `mask` [T, L] bool allows. A mask of floating point is added to the scores.
struct Visibility {
  bool causal = false;
  std::optional<at::Tensor> mask;
};

// softmax(query·keyᵀ·scale)·value, all heads side by side again, as transformers' "sdpa" backend.
//   query [B, H, T, Dh], key and value [B, H, L, Dh], any strides -> [B, T, H·Dh]
at::Tensor Attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale,
                     const Visibility& visibility = {});

// softmax(query·keyᵀ·scale) in float32, averaged over the heads, as transformers' "eager" backend.
//   query [B, H, T, Dh], key [B, H, L, Dh], any strides and float dtype -> [B, T, L] float32
// `mask` [T, L] bool says which keys each query may read; without it, all.
at::Tensor MeanAttention(const at::Tensor& query, const at::Tensor& key, double scale,
                         const std::optional<at::Tensor>& mask = {});

// How large the columns of what the norm gives are, by its weights alone: [width] float32; undefined if it has none.
at::Tensor Magnitudes(const LayerNorm& norm);
// Likewise of outputs [begin, begin + count) of a linear map; undefined where weights are of floating point.
at::Tensor Magnitudes(const Linear& linear, int64_t begin, int64_t count);

// Takes tensors out of a checkpoint onto one placement and adds up what it has taken. `name` and
// `names` are the checkpoint's, without ".weight" and ".bias" except for Tensor.
class WeightReader {
 public:
  // `activations`: how finely the inputs of linear maps with weights of 8 or 4 bits are rounded.
  // Throws c10::Error if the placement has 8-bit floats and its card takes no kernel that rounds to these.
  WeightReader(const Checkpoint& checkpoint, const Placement& placement,
               ActivationBits activations = ActivationBits::k14, OnRounded on_rounded = nullptr);

  // From now on linear maps of float32 are held in bfloat16 where the processor multiplies pairs of these; what they
  // read and give stays float32.
  void HoldInPairs() { in_pairs_ = true; }
  // From now on linear maps are held in the placement's dtype though it has integers; those that a checkpoint holds
  // rounded are widened.
  void HoldInFloats() { in_floats_ = true; }

  at::Tensor ReadTensor(const std::string& name);
  at::Tensor ReadTensorAs(const std::string& name, c10::ScalarType dtype);
  // `magnitudes` as IntegerMatrix takes them; unused where weights are of floating point.
  Linear ReadLinear(const std::string& name, bool bias = true, const at::Tensor& magnitudes = {});
  // Linear maps of one input as a single one, their outputs in the order of `names`. At most one
  // matrix besides the result is held at a time.
  // A checkpoint of rounded weights calls them `stack`.
  Linear ReadStacked(const std::string& stack, std::initializer_list<std::string> names, bool bias = true,
                     const at::Tensor& magnitudes = {});
  // A matrix without bias that is rounded to 8 bits: what chooses tokens keeps them in int4, too. `name` is whole. Not
  // counted as parameters, because it is or may be the embedding.
  Linear ReadHead(const std::string& name, const at::Tensor& magnitudes);
  LayerNorm ReadLayerNorm(const std::string& name, int64_t width, double eps, bool affine = true);

  const PartSize& size() const { return size_; }

 private:
  at::Tensor Load(const std::string& name) const { return checkpoint_.Load(name, placement_); }
  at::Tensor Stack(std::initializer_list<std::string> names, const char* suffix) const;
  // Weights of bfloat16 in pairs, straight from the file's pages. `names` are whole.
  Linear Pack(const std::vector<std::string>& names, const std::optional<at::Tensor>& bias);
  // Weights in 8 or 4 bits: straight from the file's pages, or as a checkpoint of rounded weights has them. `names` are
  // whole.
  Linear Round(const std::string& stack, IntegerType type, const std::vector<std::string>& names,
               const std::optional<at::Tensor>& bias, const at::Tensor& magnitudes);
  // In 8-bit floats.
  Linear InFloat8(const Linear& linear);
  Linear Stored(const std::string& stack, IntegerType type, const std::optional<at::Tensor>& bias);
  // As the placement has whole numbers. `bias` is there, too.
  Linear Held(std::shared_ptr<const IntegerMatrix> matrix, const std::optional<at::Tensor>& bias);

  const Checkpoint& checkpoint_;
  const Placement placement_;
  const ActivationBits activations_;
  const OnRounded on_rounded_;
  const RoundToFloat8 round_;  // to 8-bit floats
  bool in_pairs_ = false;
  bool in_floats_ = false;
  PartSize size_;
};

}  // namespace diptych::blip2
