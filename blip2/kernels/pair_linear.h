// Linear maps of bfloat16 on the CPU, for few rows and for many; by instructions that multiply pairs of numbers where
// the processor has them (MultipliesPairs).
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/float_matrix.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// A matrix [out, in] in panels of 16 outputs, and a panel in pairs of inputs: values[panel][pair][output][input], 64
// bytes a pair. What pads the last panel and the last pair is 0.
struct PairWeights {
  int64_t in = 0;
  int64_t out = 0;
  const c10::BFloat16* values = nullptr;
  const float* bias = nullptr;  // [Panels(out) · kPanel] or null
};

constexpr int64_t Pairs(int64_t in) {
  return (in + 1) / 2;
}
// Numbers that `values` holds of a panel.
constexpr int64_t PairPanelSize(int64_t in) {
  return Pairs(in) * 2 * kPanel;
}

// Lays a matrix out as PairWeights has it, each number rounded to bfloat16. Runs on libtorch's threads.
void PackPairs(const FloatMatrix& weight, c10::BFloat16* values);

// y [rows, out] = x [rows, in] · weightᵀ + bias, and what `epilogue` makes of it, in float32 and rounded once at the
// end if y is of bfloat16; numbers below 2^-126 count as 0 where instructions multiply pairs. Each sum is formed in the
// order of the inputs whatever `rows` is and however many threads take part: a row has the same bits in every batch.
// Runs on libtorch's threads; reads every weight once from memory.
void MultiplyPairPanels(const PairWeights& weights, const c10::BFloat16* x, int64_t rows,
                        const Epilogue<c10::BFloat16>& epilogue, c10::BFloat16* y);
void MultiplyPairPanels(const PairWeights& weights, const c10::BFloat16* x, int64_t rows,
                        const Epilogue<float>& epilogue, float* y);

}  // namespace diptych::blip2
