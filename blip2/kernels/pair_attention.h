// Attention in bfloat16 on the CPU, by the same products as pair_linear.h's.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace diptych::blip2 {

// Heads of some texts or images, [batch, heads, tokens, width]; the numbers of a token lie side by side, all else this
// many numbers apart.
struct StridedHeads {
  const c10::BFloat16* data = nullptr;
  int64_t batch_stride = 0;
  int64_t head_stride = 0;
  int64_t token_stride = 0;

  const c10::BFloat16* At(int64_t batch, int64_t head, int64_t token) const {
    return data + batch * batch_stride + head * head_stride + token * token_stride;
  }
};

struct PairAttention {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t width = 0;
  float scale = 0;  // > 0
  StridedHeads query = {};
  StridedHeads key = {};
  StridedHeads value = {};
  c10::BFloat16* out = nullptr;  // [batch, queries, heads · width]

  c10::BFloat16* Out(int64_t of, int64_t head, int64_t token) const {
    return out + ((of * queries + token) * heads + head) * width;
  }
};

// softmax(query·keyᵀ·scale)·value. Sums are float32; shares are rounded to bfloat16 before they meet the values, and
// numbers below 2^-126 count as 0 where instructions multiply pairs. A query has the same bits whatever else is in the
// batch. Runs on libtorch's threads. Requires: every count >= 1.
void AttendPairs(const PairAttention& attention);

}  // namespace diptych::blip2
