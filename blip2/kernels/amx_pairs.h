// The product of pair_linear.h by the tiles of AMX.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/FunctionRef.h>

#include <cstdint>

#include "blip2/kernels/pair_linear.h"

namespace diptych::blip2 {

// Calls finish(row, count, panel, sums) once for every 16 rows and every panel, on several threads: sums [count,
// kPanel] are x · weightᵀ of the rows from `row` on with the panel's outputs. x [rows, in]. A row's sums have the same
// bits in every batch. Requires: InstructionSet::kAmx.
using FinishPairs = c10::function_ref<void(int64_t row, int64_t count, int64_t panel, const float* sums)>;
void MultiplyPairTiles(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, FinishPairs finish);

}  // namespace diptych::blip2
