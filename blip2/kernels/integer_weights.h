// Weights in 8 or 4 bits, in the order in which the integer kernels read them.
#pragma once

#include <cstdint>

#include "blip2/kernels/float_matrix.h"

namespace diptych::blip2 {

enum class IntegerType { kInt8, kInt4 };

inline constexpr int64_t kPanel = 16;  // outputs that lie side by side
inline constexpr int64_t kGroup = 64;  // inputs that share a multiplier in int4; every width is padded to it
inline constexpr int64_t kQuad = 4;    // inputs of one output that lie side by side
inline constexpr int64_t kMaxInt8 = 127;

constexpr int64_t PaddedInputs(int64_t in) {
  return (in + kGroup - 1) / kGroup * kGroup;
}
constexpr int64_t Panels(int64_t out) {
  return (out + kPanel - 1) / kPanel;
}

// A matrix [out, in] of whole numbers w, so that the weight of output o and input k is scales[o] · w[o, k]. It is cut
// into panels of 16 outputs, and a panel into quads of 4 inputs: values[panel][quad][output][input], 64 bytes a quad.
// The last panel and the last quads are padded with 0.
// In int4 two quads share 64 bytes, the earlier one in the low half of each byte, and w is the number of 4 bits times
// the multiplier of its output and group, multipliers[panel][group][output]: |w| <= 127 in both types, so that both
// give the same sums by the same arithmetic.
struct IntegerWeights {
  IntegerType type = IntegerType::kInt8;
  int64_t in = 0;
  int64_t out = 0;
  const int8_t* values = nullptr;
  const int8_t* multipliers = nullptr;  // int4 alone
  const float* scales = nullptr;        // [Panels(out) · kPanel]
  const float* bias = nullptr;          // [out] or null
};

// Bytes of a panel's values and multipliers.
constexpr int64_t PanelBytes(IntegerType type, int64_t in) {
  return PaddedInputs(in) * kPanel / (type == IntegerType::kInt8 ? 1 : 2);
}
constexpr int64_t PanelMultipliers(int64_t in) {
  return PaddedInputs(in) / kGroup * kPanel;
}

// Statistics of a map's inputs; each of `in` numbers or null.
struct InputColumns {
  const float* smoothing = nullptr;   // by which each column of the weights is multiplied; null: 1
  const float* magnitudes = nullptr;  // about how large each input is; null: 1
};

// Where PackWeights writes; sizes as in IntegerWeights.
struct PackedWeights {
  int8_t* values = nullptr;
  int8_t* multipliers = nullptr;
  float* scales = nullptr;
  float* norms = nullptr;  // [out]: about how large each output is without its bias, in the unit of the magnitudes
};

// largest [in]: the largest magnitude of each column; anything for a column with a number that is not finite. Runs on
// libtorch's threads.
void ColumnMaxima(const FloatMatrix& weight, float* largest);

// Rounds the weights, each column k times smoothing[k], to whole numbers: in int8 one scale for each output, in int4
// besides one multiplier for each group, those that lose least. An output with a weight that is not finite gets the
// scale NaN and so gives NaN. Runs on libtorch's threads; holds a panel besides what it writes.
void PackWeights(IntegerType type, const FloatMatrix& weight, const InputColumns& columns, const PackedWeights& packed);

// The numbers w of one panel's quads [first, first + count) of int4, in int8's order: 64 bytes a quad. Requires: both
// are multiples of kGroup / kQuad. Meanwhile fetches as many bytes as it reads from `next` on (null: those that follow
// soon) into the L2 cache.
void UnpackInt4(const IntegerWeights& weights, int64_t panel, int64_t first, int64_t count, int8_t* values,
                const int8_t* next = nullptr);

}  // namespace diptych::blip2
