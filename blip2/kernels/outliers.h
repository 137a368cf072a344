// What products of 8-bit numbers leave out of activations that are larger.
#pragma once

#include <cstdint>

#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// Adds to sums [rows, kPanel], of the rows of x from `row` on and one panel, the products of the outliers' rests.
// Requires: x.bits is k7.
void AddOutliers(const IntegerWeights& weights, const IntegerRows& x, int64_t row, int64_t rows, int64_t panel,
                 int32_t* sums);

}  // namespace diptych::blip2
