// From whole-number sums to numbers: the one arithmetic of the integer products with activations of 7 bits.
#pragma once

#include <cstdint>
#include <span>

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// Adds to sums [rows, kPanel], of one panel, the products of the rests of each row's outliers, which products of 8-bit
// numbers leave out.
void AddRests(const IntegerWeights& weights, std::span<const std::span<const Outlier>> rows, int64_t panel,
              int32_t* sums);

// Scales sums [rows, kPanel], of the rows of x from `row` on and one panel, adds the bias, and writes what `epilogue`
// makes of that to the panel's outputs in y [x.rows, weights.out]. Requires: x.bits is k7; the rests are in.
void FinishSums(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, int64_t row,
                int64_t rows, int64_t panel, const int32_t* sums, float* y);

}  // namespace diptych::blip2
