// Activations as whole numbers, for the integer kernels.
#pragma once

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

// 14 bits and the sign's: small enough for 2,048 products with weights of 8 bits to fit 32 bits, and large enough for
// what is lost to lie far below what the weights lose.
inline constexpr int64_t kMaxActivation = 8191;
inline constexpr int64_t kBlock = 2048;  // inputs whose products are summed in 32 bits

// Rows of numbers x[r, k] = scales[r] · values[r, k], |values| <= kMaxActivation. The rest of a padded row is 0.
struct IntegerRows {
  int64_t rows = 0;
  int64_t padded = 0;           // PaddedInputs of the width
  std::vector<int16_t> values;  // [rows, padded]
  std::vector<float> scales;    // [rows]
};

// Rounds x [rows, in], each column k times factors[k] (null: 1); each row by itself, to its own scale. A row with a
// number that is not finite gets the scale NaN.
IntegerRows RoundRows(const float* x, const float* factors, int64_t rows, int64_t in);

}  // namespace diptych::blip2
