#include "blip2/kernels/integer_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace diptych::blip2 {
namespace {

struct Packed {
  Packed(IntegerType type, const std::vector<float>& weight, int64_t in, int64_t out, const float* smoothing = nullptr)
      : values(static_cast<size_t>(Panels(out) * PanelBytes(type, in))),
        multipliers(static_cast<size_t>(Panels(out) * PanelMultipliers(in))),
        scales(static_cast<size_t>(Panels(out) * kPanel)),
        weights{.type = type, .in = in, .out = out} {
    PackWeights(type, weight.data(), smoothing, in, out,
                {.values = values.data(), .multipliers = multipliers.data(), .scales = scales.data()});
    weights.values = values.data();
    weights.multipliers = multipliers.data();
    weights.scales = scales.data();
  }

  // The weights [out, in] that are left.
  std::vector<float> Rounded() const {
    std::vector<float> rounded(static_cast<size_t>(weights.in * weights.out));
    const int64_t quads = PaddedInputs(weights.in) / kQuad;
    std::vector<int8_t> panel(static_cast<size_t>(quads * kQuad * kPanel));
    for (int64_t o = 0; o < weights.out; ++o) {
      if (weights.type == IntegerType::kInt4) {
        UnpackInt4(weights, o / kPanel, 0, quads, panel.data());
      } else {
        std::copy_n(values.data() + o / kPanel * PanelBytes(weights.type, weights.in), panel.size(), panel.begin());
      }
      for (int64_t k = 0; k < weights.in; ++k) {
        rounded[o * weights.in + k] = scales[o] * panel[k / kQuad * kPanel * kQuad + o % kPanel * kQuad + k % kQuad];
      }
    }
    return rounded;
  }

  std::vector<int8_t> values;
  std::vector<int8_t> multipliers;
  std::vector<float> scales;
  IntegerWeights weights;
};

std::vector<float> NormalWeights(int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> weights(static_cast<size_t>(count));
  for (float& weight : weights) weight = normal(random);
  return weights;
}

double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double off = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    off += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(off / norm);
}

TEST(IntegerWeightsTest, Int8LosesLittle) {
  const std::vector<float> weight = NormalWeights(33 * 700);
  EXPECT_LT(RelativeError(Packed(IntegerType::kInt8, weight, 700, 33).Rounded(), weight), 0.009);
}

TEST(IntegerWeightsTest, Int4LosesNoMoreThanGroupsOfItsSizeMust) {
  const std::vector<float> weight = NormalWeights(33 * 700);
  EXPECT_LT(RelativeError(Packed(IntegerType::kInt4, weight, 700, 33).Rounded(), weight), 0.1);
}

TEST(IntegerWeightsTest, AnOutputWithLargeWeightsCostsTheOthersNothing) {
  std::vector<float> weight = NormalWeights(20 * 128);
  const std::vector<float> before = Packed(IntegerType::kInt8, weight, 128, 20).Rounded();
  for (int64_t k = 0; k < 128; ++k) weight[5 * 128 + k] *= 1000;
  const std::vector<float> after = Packed(IntegerType::kInt8, weight, 128, 20).Rounded();
  for (int64_t i = 0; i < 20 * 128; ++i) {
    if (i / 128 != 5) {
      EXPECT_EQ(after[i], before[i]);
    }
  }
}

TEST(IntegerWeightsTest, SmoothingScalesColumns) {
  const std::vector<float> weight = NormalWeights(20 * 128);
  std::vector<float> smoothing(128, 1.0F), scaled = weight;
  smoothing[9] = 8;
  for (int64_t o = 0; o < 20; ++o) scaled[o * 128 + 9] *= 8;
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    EXPECT_EQ(Packed(type, weight, 128, 20, smoothing.data()).Rounded(), Packed(type, scaled, 128, 20).Rounded());
  }
}

TEST(IntegerWeightsTest, ZerosStayZerosAndWhatIsNotFiniteSpoilsItsOutputAlone) {
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> weight(3 * 70, 0.0F);
      weight[70] = bad;
      weight[150] = 1e-39F;  // smaller than any normal number
      const Packed packed(type, weight, 70, 3);
      EXPECT_EQ(packed.scales[0], 0);
      EXPECT_TRUE(std::isnan(packed.scales[1]));
      EXPECT_TRUE(std::isfinite(packed.scales[2]));
      for (int64_t k = 0; k < 70; ++k) EXPECT_EQ(packed.Rounded()[k], 0);
    }
  }
}

}  // namespace
}  // namespace diptych::blip2
