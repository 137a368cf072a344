#include "blip2/kernels/integer_weights.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace diptych::blip2 {
namespace {

constexpr int kMinInt4 = -8;
constexpr int kMaxInt4 = 7;
constexpr int kMaxMultiplier = 15;  // 8 · 15 <= 127
constexpr int kTriedMultipliers = 4;

// To the nearest, half to even. Requires: |x| < 2^22.
inline int Round(float x) {
  return std::bit_cast<int>(x + 12582912.0F) - 0x4B400000;
}

// The largest magnitude; NaN if a number is not finite.
float LargestMagnitude(const float* x, int64_t count) {
  float largest = 0;
  float poison = 0;  // NaN after a number that is not finite
  for (int64_t k = 0; k < count; ++k) {
    largest = std::max(largest, std::abs(x[k]));
    poison += x[k] * 0.0F;
  }
  return largest + poison;
}

float Inverse(float scale) {
  return scale > 0 ? 1 / scale : 0;
}

// -> the scale. Also for rows of zeros alone.
float RoundRowToInt8(const float* row, int64_t count, int8_t* values) {
  const float scale = LargestMagnitude(row, count) / static_cast<float>(kMaxInt8);
  const float inverse = std::min(Inverse(scale), std::numeric_limits<float>::max());
  for (int64_t k = 0; k < count; ++k) values[k] = static_cast<int8_t>(std::isnan(scale) ? 0 : Round(row[k] * inverse));
  return scale;
}

// One group with a step between neighbouring numbers.
inline int RoundToInt4(float x, float inverse) {
  return std::clamp(Round(std::clamp(x * inverse, -16.0F, 16.0F)), kMinInt4, kMaxInt4);
}

float SquaredError(const float* group, float step) {
  const float inverse = Inverse(step);
  float error = 0;
  for (int64_t k = 0; k < kGroup; ++k) {
    const float off = group[k] - step * static_cast<float>(RoundToInt4(group[k], inverse));
    error += off * off;
  }
  return error;
}

// The multiplier of `scale` that loses least: the one that reaches the group's largest number, or a smaller one.
int BestMultiplier(const float* group, float largest, float scale) {
  const int reaching = std::clamp(static_cast<int>(std::ceil(largest / -kMinInt4 * Inverse(scale))), 1, kMaxMultiplier);
  int best = reaching;
  float least = std::numeric_limits<float>::infinity();
  for (int m = std::min(reaching + 1, kMaxMultiplier); m >= std::max(reaching + 2 - kTriedMultipliers, 1); --m) {
    const float error = SquaredError(group, scale * static_cast<float>(m));
    if (error < least) {
      least = error;
      best = m;
    }
  }
  return best;
}

float RoundRowToInt4(const float* row, int64_t count, int8_t* values, int8_t* multipliers) {
  const int64_t groups = count / kGroup;
  const float scale = LargestMagnitude(row, count) / static_cast<float>(kMaxInt4 * kMaxMultiplier);
  for (int64_t g = 0; g < groups; ++g) {
    const float* group = row + g * kGroup;
    const bool usable = scale > 0;  // neither zeros alone nor NaN
    const int m = usable ? BestMultiplier(group, LargestMagnitude(group, kGroup), scale) : 1;
    const float inverse =
        usable ? std::min(Inverse(scale * static_cast<float>(m)), std::numeric_limits<float>::max()) : 0;
    for (int64_t k = 0; k < kGroup; ++k) {
      values[g * kGroup + k] = static_cast<int8_t>(usable ? RoundToInt4(group[k], inverse) : 0);
    }
    multipliers[g] = static_cast<int8_t>(m);
  }
  return scale;
}

// A panel's numbers, row by row, before they take their places.
struct Panel {
  explicit Panel(int64_t padded)
      : values(static_cast<size_t>(kPanel * padded)), multipliers(static_cast<size_t>(kPanel * padded / kGroup)) {}
  std::vector<int8_t> values;       // [kPanel, padded]
  std::vector<int8_t> multipliers;  // [kPanel, groups]
};

void PlaceInt8(const Panel& panel, int64_t padded, int8_t* to) {
  for (int64_t quad = 0; quad < padded / kQuad; ++quad) {
    for (int64_t o = 0; o < kPanel; ++o, to += kQuad) {
      std::copy_n(panel.values.data() + o * padded + quad * kQuad, kQuad, to);
    }
  }
}

void PlaceInt4(const Panel& panel, int64_t padded, int8_t* to, int8_t* multipliers) {
  for (int64_t quad = 0; quad < padded / kQuad; quad += 2) {
    for (int64_t o = 0; o < kPanel; ++o) {
      const int8_t* low = panel.values.data() + o * padded + quad * kQuad;
      for (int64_t k = 0; k < kQuad; ++k) *to++ = static_cast<int8_t>((low[k] & 15) | (low[kQuad + k] * 16));
    }
  }
  for (int64_t group = 0; group < padded / kGroup; ++group) {
    for (int64_t o = 0; o < kPanel; ++o) *multipliers++ = panel.multipliers[o * (padded / kGroup) + group];
  }
}

}  // namespace

void PackWeights(IntegerType type, const float* weight, const float* smoothing, int64_t in, int64_t out,
                 const PackedWeights& packed) {
  const int64_t padded = PaddedInputs(in);
  at::parallel_for(0, Panels(out), 1, [&](int64_t begin, int64_t end) {
    Panel panel(padded);
    std::vector<float> row(static_cast<size_t>(padded));
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t o = 0; o < kPanel; ++o) {
        const int64_t output = p * kPanel + o;
        std::fill(row.begin(), row.end(), 0.0F);
        if (output < out) std::copy_n(weight + output * in, in, row.begin());
        for (int64_t k = 0; smoothing != nullptr && k < in; ++k) row[k] *= smoothing[k];
        packed.scales[output] = type == IntegerType::kInt8
                                    ? RoundRowToInt8(row.data(), padded, panel.values.data() + o * padded)
                                    : RoundRowToInt4(row.data(), padded, panel.values.data() + o * padded,
                                                     panel.multipliers.data() + o * (padded / kGroup));
      }
      int8_t* to = packed.values + p * PanelBytes(type, in);
      if (type == IntegerType::kInt8) {
        PlaceInt8(panel, padded, to);
      } else {
        PlaceInt4(panel, padded, to, packed.multipliers + p * PanelMultipliers(in));
      }
    }
  });
}

}  // namespace diptych::blip2
