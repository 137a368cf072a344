// The vision transformer (ViT-g in the full model).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/matrices/integer_matrix.h"

namespace diptych::blip2 {

// What Analyze gives.
struct VisionAnalysis {
  at::Tensor tokens;           // [B, P, Dv] in the model's dtype
  at::Tensor class_attention;  // [B, P] float32, rows sum to 1: the class token's own share first, then the patches'
};

// Const after construction; thread-safe. Mirrors transformers Blip2VisionModel.
// A call that does not meet its requirements throws c10::Error, as ATen itself would.
class VisionModel {
 public:
  VisionModel(const Checkpoint& checkpoint, const Placement& placement, const OnRounded& on_rounded = nullptr);
  ~VisionModel();
  VisionModel(VisionModel&&) noexcept;

  // pixel_values [B, 3, S, S] float32, on the CPU or where the model is -> visual tokens [B, P, Dv] in the model's
  // dtype: the last hidden state after post_layernorm, class token first. If S is not the model's image size, positions
  // are interpolated (transformers' interpolate_pos_encoding=True). `merging` is the share of patch tokens, in
  // thousandths, that each layer merges away (blip2/token_merging.h); P is then PatchesLeft + 1, for each image of the
  // batch. Requires: S >= patch_size and S a multiple of it; 0 <= merging <= kMaxMerging.
  at::Tensor Forward(const at::Tensor& pixel_values, int merging = 0) const;

  // Forward without merging, bit for bit, and the class token's attention in the last layer, averaged over the heads
  // (transformers' output_attentions).
  VisionAnalysis Analyze(const at::Tensor& pixel_values) const;

  const VisionConfig& config() const { return config_; }
  const Placement& placement() const { return placement_; }
  PartSize size() const;

 private:
  struct Weights;
  // Also fills in `class_attention` unless it is null.
  at::Tensor Run(const at::Tensor& pixel_values, int merging, at::Tensor* class_attention) const;

  VisionConfig config_;
  Placement placement_;
  std::unique_ptr<const Weights> weights_;
};

}  // namespace diptych::blip2
