// Linear maps on the CPU for few rows, where the time is that of reading the weights.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

#include "blip2/kernels/float_matrix.h"

namespace diptych::blip2 {

// A matrix [out, in] of `type`, row by row, and a bias [out] of the same type or null.
struct LinearWeights {
  WeightType type = WeightType::kFloat32;
  const void* weight = nullptr;
  const void* bias = nullptr;
  int64_t in = 0;
  int64_t out = 0;
};

// y [rows, out] = x [rows, in] · weightᵀ + bias, sums in float32. Each sum is formed in the same order whatever
// `rows` is and however many threads take part: a row has the same bits in every batch. Runs on libtorch's
// threads; reads every weight once from memory.
void MultiplyRows(const LinearWeights& weights, const float* x, int64_t rows, float* y);

// The same for x and weights of bfloat16, by instructions for them: each sum adds two products at a time, and numbers
// below 2^-126 count as 0. Requires: InstructionSet::kAvx512Bf16.
void MultiplyPairs(const LinearWeights& weights, const c10::BFloat16* x, int64_t rows, float* y);

}  // namespace diptych::blip2
