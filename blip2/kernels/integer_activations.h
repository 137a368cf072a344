// Activations as whole numbers, for the integer kernels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/kernels/uninitialized.h"

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

inline constexpr int64_t kMaxOutliers = 32;  // of a row

// A number of a row that is larger than 7 bits and a sign hold: `rest` is what they leave of it.
struct Outlier {
  int32_t input;
  int32_t rest;
};

// Rows of numbers x[r, k] = scales[r] · values[r, k]. |values| <= MaxActivation(bits), but for the outliers of k7: a
// product of 8-bit numbers takes those at MaxActivation and adds their rests (finish_sums.h). The rest of a padded row
// is 0.
struct IntegerRows {
  ActivationBits bits = ActivationBits::k14;
  int64_t rows = 0;
  int64_t padded = 0;                        // PaddedInputs of the width
  Uninitialized<int16_t> values = {};        // [rows, padded]
  std::vector<float> scales = {};            // [rows]
  Uninitialized<Outlier> outliers = {};      // [rows, kMaxOutliers]; empty for k14
  std::vector<int64_t> outlier_counts = {};  // [rows]; empty for k14

  // Those of a row, in the order of their inputs.
  std::span<const Outlier> Outliers(int64_t row) const {
    return std::span(outliers).subspan(row * kMaxOutliers, outlier_counts[row]);
  }
  // The same for rows [begin, end), of inputs [first, last) alone.
  std::vector<std::span<const Outlier>> Outliers(int64_t begin, int64_t end, int64_t first, int64_t last) const;
};

// Rounds x [rows, in], each column k times factors[k] (null: 1); each row by itself, to its own scale. In k7 the scale
// leaves out numbers of more than four times the row's root mean square, if they are few. A row with a number that is
// not finite gets the scale NaN.
IntegerRows RoundRows(const float* x, const float* factors, int64_t rows, int64_t in, ActivationBits bits);

}  // namespace diptych::blip2
