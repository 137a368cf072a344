// The product of pair_linear.h by the tiles of AMX.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/FunctionRef.h>

#include <algorithm>
#include <cstdint>

#include "blip2/kernels/pair_linear.h"

namespace diptych::blip2 {

// Calls finish(row, count, panel, sums) once for every 16 rows and every panel, on several threads: sums [count,
// kPanel] are x · weightᵀ of the rows from `row` on with the panel's outputs. x [rows, in]. A row's sums have the same
// bits in every batch. Requires: InstructionSet::kAmx.
using FinishPairs = c10::function_ref<void(int64_t row, int64_t count, int64_t panel, const float* sums)>;
void MultiplyPairTiles(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, FinishPairs finish);

// A tile of rows is [16][32], of numbers; one of a panel [16 pairs][16 outputs][2].
constexpr int64_t kPairTileRows = 16;
constexpr int64_t kPairTileInputs = 32;

// Puts a row [in] where its tiles have it, 32 inputs each and a tile apart; what pads the last of them is 0.
inline void ArrangePairs(const c10::BFloat16* from, int64_t in, c10::BFloat16* to) {
  constexpr int64_t kTile = kPairTileRows * kPairTileInputs;
  int64_t k = 0;
  for (; k + kPairTileInputs <= in; k += kPairTileInputs, to += kTile) std::copy_n(from + k, kPairTileInputs, to);
  if (k == in) return;
  std::fill_n(to, kPairTileInputs, c10::BFloat16());
  std::copy_n(from + k, in - k, to);
}

// The same of what already lies in tiles, on this thread alone: rows [row_tiles][steps], row_tiles 1 or 2; panels
// [2 · panel_pairs][steps] -> sums [panel_pairs][row_tiles][2][16 rows][16 outputs]. All begin with a line of the
// cache.
void MultiplyArrangedPairs(const c10::BFloat16* rows, int64_t row_tiles, const c10::BFloat16* panels,
                           int64_t panel_pairs, int64_t steps, float* sums);

}  // namespace diptych::blip2
