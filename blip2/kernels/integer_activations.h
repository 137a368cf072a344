// Activations as whole numbers, for the integer kernels.
#pragma once

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

// How finely activations are rounded, the sign's bit included in neither number.
// k14: large enough for what is lost to lie far below what the weights lose. k7: what the processor's products of
// 8-bit numbers take, which are twice as fast.
enum class ActivationBits { k7, k14 };

constexpr int64_t MaxActivation(ActivationBits bits) {
  return bits == ActivationBits::k7 ? 127 : 8191;
}
// Inputs whose products with weights of 8 bits fit a sum of 32 bits.
constexpr int64_t BlockInputs(ActivationBits bits) {
  return bits == ActivationBits::k7 ? 1 << 17 : 1 << 11;
}

// Rows of numbers x[r, k] = scales[r] · values[r, k], |values| <= MaxActivation(bits). The rest of a padded row is 0.
struct IntegerRows {
  ActivationBits bits = ActivationBits::k14;
  int64_t rows = 0;
  int64_t padded = 0;           // PaddedInputs of the width
  std::vector<int16_t> values;  // [rows, padded]
  std::vector<float> scales;    // [rows]
};

// Rounds x [rows, in], each column k times factors[k] (null: 1); each row by itself, to its own scale. A row with a
// number that is not finite gets the scale NaN.
IntegerRows RoundRows(const float* x, const float* factors, int64_t rows, int64_t in, ActivationBits bits);

}  // namespace diptych::blip2
