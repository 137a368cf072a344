// Weights as whole numbers, on every instruction set of this machine.
#include "blip2/kernels/integer_weights.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "blip2/kernels/processor.h"

namespace diptych::blip2 {
namespace {

FloatMatrix MatrixOf(const std::vector<float>& weight, int64_t in) {
  const auto rows = static_cast<int64_t>(weight.size()) / in;
  return {.blocks = {{.type = WeightType::kFloat32, .data = weight.data(), .rows = rows}}, .in = in};
}

struct Packed {
  Packed(IntegerType type, const FloatMatrix& matrix, const InputColumns& columns = {})
      : values(static_cast<size_t>(Panels(matrix.out()) * PanelBytes(type, matrix.in))),
        multipliers(static_cast<size_t>(Panels(matrix.out()) * PanelMultipliers(matrix.in))),
        scales(static_cast<size_t>(Panels(matrix.out()) * kPanel)),
        norms(static_cast<size_t>(matrix.out())),
        weights{.type = type, .in = matrix.in, .out = matrix.out()} {
    PackWeights(
        type, matrix, columns,
        {.values = values.data(), .multipliers = multipliers.data(), .scales = scales.data(), .norms = norms.data()});
    weights.values = values.data();
    weights.multipliers = multipliers.data();
    weights.scales = scales.data();
  }
  Packed(IntegerType type, const std::vector<float>& weight, int64_t in, const InputColumns& columns = {})
      : Packed(type, MatrixOf(weight, in), columns) {}

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
  std::vector<float> norms;
  IntegerWeights weights;
};

std::vector<float> NormalWeights(int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> weights(static_cast<size_t>(count));
  for (float& weight : weights) weight = normal(random);
  return weights;
}

// Squared.
double Error(const float* a, const float* b, int64_t count) {
  double off = 0;
  for (int64_t i = 0; i < count; ++i) off += (a[i] - b[i]) * (a[i] - b[i]);
  return off;
}

double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  const std::vector<float> zeros(b.size());
  const auto count = static_cast<int64_t>(b.size());
  return std::sqrt(Error(a.data(), b.data(), count) / Error(zeros.data(), b.data(), count));
}

float LargestMagnitude(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t k = 0; k < count; ++k) largest = std::max(largest, std::abs(x[k]));
  return largest;
}

// What int8 leaves of a row, in the plainest way.
std::vector<float> Int8Reference(const float* row, int64_t in) {
  const float scale = LargestMagnitude(row, in) / kMaxInt8;
  std::vector<float> rounded;
  for (int64_t k = 0; k < in; ++k) rounded.push_back(scale * std::nearbyint(row[k] * (1 / scale)));
  return rounded;
}

// The least squared error that one of the 15 multipliers leaves of a group of a row whose largest magnitude is given.
double LeastInt4Error(const float* group, float largest_of_row) {
  double least = std::numeric_limits<double>::infinity();
  for (int m = 1; m <= 15; ++m) {
    const float step = largest_of_row / (7 * 15) * static_cast<float>(m);
    double error = 0;
    for (int64_t k = 0; k < kGroup; ++k) {
      const double off = group[k] - step * std::clamp(std::nearbyint(group[k] / step), -8.0F, 7.0F);
      error += off * off;
    }
    least = std::min(least, error);
  }
  return least;
}

class IntegerWeightsTest : public ::testing::TestWithParam<InstructionSet> {
 private:
  const LimitedInstructionSet limited_{GetParam()};
};

TEST_P(IntegerWeightsTest, Int8IsTheReference) {
  for (const int64_t in : {1, 63, 64, 700}) {
    const std::vector<float> weight = NormalWeights(33 * in);
    const std::vector<float> rounded = Packed(IntegerType::kInt8, weight, in).Rounded();
    for (int64_t o = 0; o < 33; ++o) {
      const std::vector<float> expected = Int8Reference(weight.data() + o * in, in);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), rounded.begin() + o * in)) << in << ", output " << o;
    }
  }
}

TEST_P(IntegerWeightsTest, Int4LosesNoMoreThanTheBestMultiplier) {
  const int64_t in = 4 * kGroup;
  const std::vector<float> weight = NormalWeights(33 * in);
  const std::vector<float> rounded = Packed(IntegerType::kInt4, weight, in).Rounded();
  for (int64_t o = 0; o < 33; ++o) {
    const float* row = weight.data() + o * in;
    for (int64_t k = 0; k < in; k += kGroup) {
      const double least = LeastInt4Error(row + k, LargestMagnitude(row, in));
      EXPECT_LE(Error(rounded.data() + o * in + k, row + k, kGroup), 1.02 * least) << o << ", " << k;
    }
  }
}

TEST_P(IntegerWeightsTest, LosesLittle) {
  const std::vector<float> weight = NormalWeights(33 * 700);
  EXPECT_LT(RelativeError(Packed(IntegerType::kInt8, weight, 700).Rounded(), weight), 0.009);
  EXPECT_LT(RelativeError(Packed(IntegerType::kInt4, weight, 700).Rounded(), weight), 0.1);
}

TEST_P(IntegerWeightsTest, RowsOfSeveralBlocksAndTypesAreOneMatrix) {
  const int64_t in = 131;
  std::vector<float> weight = NormalWeights(41 * in);
  std::vector<c10::BFloat16> first;
  std::vector<c10::Half> second;
  for (int64_t i = 0; i < 5 * in; ++i) weight[i] = first.emplace_back(weight[i]);
  for (int64_t i = 5 * in; i < 20 * in; ++i) weight[i] = second.emplace_back(weight[i]);
  const FloatMatrix matrix{.blocks = {{.type = WeightType::kBFloat16, .data = first.data(), .rows = 5},
                                      {.type = WeightType::kFloat16, .data = second.data(), .rows = 15},
                                      {.type = WeightType::kFloat32, .data = weight.data() + 20 * in, .rows = 21}},
                           .in = in};
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    const Packed stacked(type, matrix), whole(type, weight, in);
    EXPECT_EQ(stacked.values, whole.values);
    EXPECT_EQ(stacked.multipliers, whole.multipliers);
    EXPECT_EQ(stacked.scales, whole.scales);
  }
  std::vector<float> largest(in), expected(in);
  ColumnMaxima(matrix, largest.data());
  for (int64_t i = 0; i < 41 * in; ++i) expected[i % in] = std::max(expected[i % in], std::abs(weight[i]));
  EXPECT_EQ(largest, expected);
}

TEST_P(IntegerWeightsTest, SaysHowLargeOutputsAre) {
  const int64_t in = 131;
  const std::vector<float> weight = NormalWeights(20 * in), magnitudes = NormalWeights(in);
  const Packed packed(IntegerType::kInt8, weight, in, {.magnitudes = magnitudes.data()});
  for (int64_t o = 0; o < 20; ++o) {
    double squares = 0;
    for (int64_t k = 0; k < in; ++k) squares += std::pow(weight[o * in + k] * magnitudes[k], 2);
    EXPECT_NEAR(packed.norms[o], std::sqrt(squares), 1e-5 * std::sqrt(squares));
  }
}

TEST_P(IntegerWeightsTest, AnOutputWithLargeWeightsCostsTheOthersNothing) {
  std::vector<float> weight = NormalWeights(20 * 128);
  const std::vector<float> before = Packed(IntegerType::kInt8, weight, 128).Rounded();
  for (int64_t k = 0; k < 128; ++k) weight[5 * 128 + k] *= 1000;
  const std::vector<float> after = Packed(IntegerType::kInt8, weight, 128).Rounded();
  for (int64_t i = 0; i < 20 * 128; ++i) {
    if (i / 128 != 5) {
      EXPECT_EQ(after[i], before[i]);
    }
  }
}

TEST_P(IntegerWeightsTest, SmoothingScalesColumns) {
  const std::vector<float> weight = NormalWeights(20 * 128);
  std::vector<float> smoothing(128, 1.0F), scaled = weight;
  smoothing[9] = 8;
  for (int64_t o = 0; o < 20; ++o) scaled[o * 128 + 9] *= 8;
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    EXPECT_EQ(Packed(type, weight, 128, {.smoothing = smoothing.data()}).Rounded(),
              Packed(type, scaled, 128).Rounded());
  }
}

TEST_P(IntegerWeightsTest, ZerosStayZerosAndWhatIsNotFiniteSpoilsItsOutputAlone) {
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> weight(3 * 70, 0.0F);
      weight[70] = bad;
      weight[150] = 1e-39F;  // smaller than any normal number
      const Packed packed(type, weight, 70);
      EXPECT_EQ(packed.scales[0], 0);
      EXPECT_TRUE(std::isnan(packed.scales[1]));
      EXPECT_TRUE(std::isfinite(packed.scales[2]));
      for (int64_t k = 0; k < 70; ++k) EXPECT_EQ(packed.Rounded()[k], 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, IntegerWeightsTest, ::testing::ValuesIn(InstructionSets()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace diptych::blip2
