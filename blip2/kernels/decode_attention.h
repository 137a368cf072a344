// Attention of single tokens to keys and values in the blocks of a pool, read where they lie.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "blip2/kernels/float_matrix.h"

namespace diptych::blip2 {

// One sequence: its token reads the first `length` places of the blocks in its table's order.
struct PlacedSequence {
  int64_t length = 0;  // >= 1
  std::span<const int32_t> blocks;
};

// Shapes: query and out [R, H, Dh] of `type`; keys and values [blocks, H, block_tokens, Dh] of `pool_type`, which is
// the same, or bfloat16 with float32; without a `pool_type` they are what RoundKv writes, Dh + kKvScaleBytes wide.
// All contiguous.
struct DecodeAttention {
  WeightType type = WeightType::kFloat32;
  std::optional<WeightType> pool_type = WeightType::kFloat32;
  int64_t heads = 0;
  int64_t width = 0;  // Dh
  int64_t block_tokens = 0;
  const void* query = nullptr;  // scaled
  const void* keys = nullptr;
  const void* values = nullptr;
  void* out = nullptr;
};

// out = softmax(query · keysᵀ) · values for each of the R rows and heads, sums in float32. Each row by itself: it has
// the same bits in every batch. What lies after `length` reaches no result. Runs on libtorch's threads.
void AttendInPlace(const DecodeAttention& attention, std::span<const PlacedSequence> rows);

}  // namespace diptych::blip2
