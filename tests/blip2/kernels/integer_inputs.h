// What tests of the integer kernels multiply.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "blip2/kernels/epilogue.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// In (−1, 1); another one for each `seed`.
inline std::vector<float> Noise(int64_t count, int seed) {
  std::vector<float> noise(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double at = static_cast<double>(i + 977 * seed);
    noise[i] = static_cast<float>(std::sin(0.3 * at * at));
  }
  return noise;
}

// By the definition, in double precision.
inline double Activated(Activation activation, double x) {
  if (activation == Activation::kRelu) return std::max(x, 0.0);
  return activation == Activation::kGelu ? x * std::erfc(-x / std::sqrt(2.0)) / 2 : x;
}

// A packed matrix and what it stands for.
struct Matrix {
  Matrix(IntegerType type, int64_t in, int64_t out)
      : values(static_cast<size_t>(Panels(out) * PanelBytes(type, in))),
        multipliers(static_cast<size_t>(Panels(out) * PanelMultipliers(in))),
        scales(static_cast<size_t>(Panels(out) * kPanel)),
        bias(Noise(out, 2)) {
    const std::vector<float> weight = Noise(in * out, 1);
    PackWeights(type, {.blocks = {{.type = WeightType::kFloat32, .data = weight.data(), .rows = out}}, .in = in}, {},
                {.values = values.data(), .multipliers = multipliers.data(), .scales = scales.data()});
    weights = {.type = type,
               .in = in,
               .out = out,
               .values = values.data(),
               .multipliers = multipliers.data(),
               .scales = scales.data(),
               .bias = bias.data()};
  }

  // The numbers [out, in].
  std::vector<std::vector<int>> Numbers() const {
    const int64_t quads = PaddedInputs(weights.in) / kQuad;
    std::vector<int8_t> panel(static_cast<size_t>(quads * kQuad * kPanel));
    std::vector<std::vector<int>> numbers(static_cast<size_t>(weights.out));
    for (int64_t o = 0; o < weights.out; ++o) {
      if (weights.type == IntegerType::kInt4) {
        UnpackInt4(weights, o / kPanel, 0, quads, panel.data());
      } else {
        std::copy_n(values.data() + o / kPanel * PanelBytes(weights.type, weights.in), panel.size(), panel.begin());
      }
      for (int64_t k = 0; k < weights.in; ++k) {
        numbers[o].push_back(panel[k / kQuad * kPanel * kQuad + o % kPanel * kQuad + k % kQuad]);
      }
    }
    return numbers;
  }

  std::vector<int8_t> values;
  std::vector<int8_t> multipliers;
  std::vector<float> scales;
  std::vector<float> bias;
  IntegerWeights weights;
};

// Noise in which some numbers of each row are hundreds of times as large.
inline std::vector<float> WithOutliers(int64_t rows, int64_t in) {
  std::vector<float> x = Noise(rows * in, 3);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < 1 + r % 5; ++i)
      x[r * in + (37 * i + 11 * r) % in] = static_cast<float>(r % 2 == 0 ? 300 : -100 * i);
  }
  return x;
}

}  // namespace diptych::blip2
