// A tiny decoder, its pool of keys and values, and sequences that are read piece by piece.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "blip2/opt.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::testing {

inline constexpr double kOptTolerance = 2e-5;  // float32 against float64, on values of order one
inline constexpr int64_t kBlockTokens = 4;

inline double LargestDifference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// [tokens, width] in (−1, 1), another one for each `seed`.
inline at::Tensor Tokens(int64_t tokens, int64_t width, int64_t seed = 0) {
  return at::sin(at::arange(tokens * width, at::kDouble).add_(1000 * seed).square().mul_(0.7))
      .to(at::kFloat)
      .view({tokens, width});
}

inline blip2::KvPool Filled(const blip2::OptDecoder& decoder, int64_t blocks, float value) {
  const c10::InferenceMode inference;
  blip2::KvPool pool = decoder.MakeKvPool(blocks, kBlockTokens);
  for (const auto* side : {&pool.keys, &pool.values}) {
    for (const at::Tensor& layer : *side) layer.fill_(value);
  }
  return pool;
}

// A sequence in a pool. Reads its tokens piece by piece.
struct Reader {
  at::Tensor embeddings;  // [T, De] of the whole text
  std::vector<int32_t> blocks;
  int64_t past = 0;

  int64_t left() const { return embeddings.size(0) - past; }
  // The next `tokens` as a row; counts them as read.
  blip2::DecoderRow Next(int64_t tokens, bool wants_logits = true) {
    past += tokens;
    return {.embeddings = embeddings.narrow(0, past - tokens, tokens),
            .past = past - tokens,
            .blocks = blocks,
            .wants_logits = wants_logits};
  }
};

// Of pre-layer-norm, with random weights.
class TinyDecoderTest : public ::testing::Test {
 protected:
  at::Tensor Forward(const std::vector<blip2::DecoderRow>& rows, blip2::KvPool& pool) const {
    return decoder_.Forward(rows, pool);
  }
  void Copy(blip2::KvPool& pool, const std::vector<std::pair<int32_t, int32_t>>& copies) const {
    std::vector<int32_t> from, to;
    for (const auto& copy : copies) {
      from.push_back(copy.first);
      to.push_back(copy.second);
    }
    decoder_.CopyKvBlocks(pool, from, to);
  }

  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/9};
  const blip2::OptDecoder decoder_{*checkpoint_.Open(), blip2::Placement{}};
};

}  // namespace diptych::testing
