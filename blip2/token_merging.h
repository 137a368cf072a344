// Token merging: tokens of an image that are alike become one between the attention and the MLP of each vision layer,
// without training. Source: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace diptych::blip2 {

// The share of patch tokens that each layer merges away is counted in thousandths, so that both tiers compute equal
// numbers of tokens. At most half of the tokens can be merged at once.
inline constexpr int kMaxMerging = 500;

// Patch tokens that a layer merges away when it has `patches`.
constexpr int64_t MergedPatches(int64_t patches, int merging) {
  return patches * merging / 1000;
}

// Patch tokens after all layers.
constexpr int64_t PatchesLeft(int64_t patches, int64_t layers, int merging) {
  for (int64_t i = 0; i < layers; ++i) patches -= MergedPatches(patches, merging);
  return patches;
}

// Tokens, and of how many patches each is the mean.
struct MergedTokens {
  at::Tensor tokens;  // [B, P, Dv]
  at::Tensor sizes;   // [B, P, 1] float32; undefined: all are one
};

// Merges the `count` most similar pairs of each image: every second token (the class token, which is never merged,
// the second patch, the fourth ...) looks for its most similar one among the others, by the cosine of their `keys`
// [B, P, Dh]; merged tokens are means weighted by size.
//   [B, P, ...] -> [B, P - count, ...]; the class token stays first.
// Images of a batch do not touch each other. Requires: 0 < count <= (P - 1) / 2.
MergedTokens MergeTokens(const MergedTokens& input, const at::Tensor& keys, int64_t count);

// The term that attention adds to the scores of merged keys, so that a key of many tokens counts as many:
// log(sizes) as [B, 1, 1, P] in `dtype`.
at::Tensor AttentionBias(const at::Tensor& sizes, at::ScalarType dtype);

}  // namespace diptych::blip2
