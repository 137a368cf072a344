// What becomes of a block's sums: the one arithmetic of every form of the integer product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "blip2/kernels/integer_activations.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// Adds the sums of one block, sums [rows, kPanel], to the outputs of `panel` in y [.., out], from row `row` on. The
// first block overwrites them.
inline void AddBlock(const int32_t* sums, int64_t row, int64_t rows, int64_t panel, int64_t out, bool first_block,
                     float* y) {
  const int64_t output = panel * kPanel;
  const int64_t outputs = std::min(kPanel, out - output);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = y + (row + r) * out + output;
    for (int64_t o = 0; o < outputs; ++o) {
      const auto sum = static_cast<float>(sums[r * kPanel + o]);
      to[o] = first_block ? sum : to[o] + sum;
    }
  }
}

// From sums to numbers, for one panel of all rows.
inline void ScaleAndShift(const IntegerWeights& weights, const IntegerRows& x, int64_t panel, float* y) {
  const int64_t output = panel * kPanel;
  const int64_t end = std::min(output + kPanel, weights.out);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = output; o < end; ++o) {
      float& value = y[r * weights.out + o];
      value *= weights.scales[o] * x.scales[r];
      if (weights.bias != nullptr) value += weights.bias[o];
    }
  }
}

}  // namespace diptych::blip2
