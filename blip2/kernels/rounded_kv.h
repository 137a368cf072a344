// Keys and values as whole numbers of 8 bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "blip2/kernels/float_matrix.h"

namespace diptych::blip2 {

// A head's key or value of `width` numbers is held as so many bytes and, behind them, the float32 that multiplies them.
inline constexpr int64_t kKvScaleBytes = sizeof(float);
inline float KvScale(const int8_t* numbers, int64_t width) {
  float scale = 0;
  std::memcpy(&scale, numbers + width, sizeof(scale));
  return scale;
}

// Rounds `from` [vectors, width] of `type` to the nearest, each vector by itself and to its own scale, which is a 127th
// of its largest number: -> to [vectors, width + kKvScaleBytes]. A vector with a number that is not finite gets the
// scale NaN.
void RoundKv(WeightType type, const void* from, int64_t vectors, int64_t width, int8_t* to);

// The way back, to numbers of `type`.
void WidenKv(const int8_t* from, int64_t vectors, int64_t width, WeightType type, void* to);

}  // namespace diptych::blip2
