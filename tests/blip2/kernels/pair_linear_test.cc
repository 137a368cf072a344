// Matrices of bfloat16 in panels of pairs.
#include "blip2/kernels/pair_linear.h"

#include <ATen/Parallel.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "blip2/kernels/processor.h"
#include "tests/blip2/kernels/integer_inputs.h"

namespace diptych::blip2 {
namespace {

using Numbers = std::vector<c10::BFloat16>;

template <typename T>
std::vector<T> NoiseAs(int64_t count, int seed) {
  const std::vector<float> noise = Noise(count, seed);
  return {noise.begin(), noise.end()};
}

// Of one block of bfloat16.
FloatMatrix MatrixOf(const Numbers& weight, int64_t in) {
  const auto rows = static_cast<int64_t>(weight.size()) / in;
  return {.blocks = {{.type = WeightType::kBFloat16, .data = weight.data(), .rows = rows}}, .in = in};
}

Numbers Packed(const FloatMatrix& matrix) {
  Numbers values(static_cast<size_t>(Panels(matrix.out()) * PairPanelSize(matrix.in)), c10::BFloat16(99));
  PackPairs(matrix, values.data());
  return values;
}

bool SameBits(const Numbers& a, const Numbers& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
}

TEST(PackPairsTest, PutsEachNumberInItsPlaceAndZerosBesideThem) {
  constexpr int64_t kIn = 5, kOut = 19;
  const auto floats = NoiseAs<float>(7 * kIn, 1);
  const auto brains = NoiseAs<c10::BFloat16>(8 * kIn, 2);
  const auto halves = NoiseAs<c10::Half>(4 * kIn, 3);
  const Numbers values = Packed({.blocks = {{WeightType::kFloat32, floats.data(), 7},
                                            {WeightType::kBFloat16, brains.data(), 8},
                                            {WeightType::kFloat16, halves.data(), 4}},
                                 .in = kIn});
  const auto expected = [&](int64_t o, int64_t k) -> float {
    if (o >= kOut || k >= kIn) return 0;
    if (o < 7) return floats[o * kIn + k];
    return o < 15 ? static_cast<float>(brains[(o - 7) * kIn + k]) : static_cast<float>(halves[(o - 15) * kIn + k]);
  };
  for (int64_t o = 0; o < 2 * kPanel; ++o) {
    for (int64_t k = 0; k < 6; ++k) {
      const c10::BFloat16 value = values[o / kPanel * PairPanelSize(kIn) + k / 2 * 2 * kPanel + o % kPanel * 2 + k % 2];
      EXPECT_EQ(value, c10::BFloat16(expected(o, k))) << o << " " << k;
    }
  }
}

// [rows, out] of x [rows, in] and weight [out, in].
std::vector<double> SumsInDoublePrecision(const Numbers& x, const Numbers& weight, int64_t in) {
  std::vector<double> sums;
  for (size_t row = 0; row < x.size(); row += in) {
    for (size_t output = 0; output < weight.size(); output += in) {
      double sum = 0;
      for (int64_t k = 0; k < in; ++k)
        sum += static_cast<double>(static_cast<float>(x[row + k])) * static_cast<float>(weight[output + k]);
      sums.push_back(sum);
    }
  }
  return sums;
}

class PairLinearTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  const LimitedInstructionSet limited_{GetParam()};

  static Numbers Product(const Numbers& values, const std::vector<float>& bias, int64_t in, int64_t out,
                         const c10::BFloat16* x, int64_t rows) {
    Numbers y(static_cast<size_t>(rows * out), c10::BFloat16(std::numeric_limits<float>::quiet_NaN()));
    MultiplyPairPanels({.in = in, .out = out, .values = values.data(), .bias = bias.empty() ? nullptr : bias.data()}, x,
                       rows, Epilogue<c10::BFloat16>(), y.data());
    return y;
  }
};

TEST_P(PairLinearTest, IsTheProductInDoublePrecisionRoundedOnce) {
  // Widths and outputs that fill no pair and no panel, and rows of every tile's height.
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {64, 16}, {131, 67}, {260, 131}}) {
    const auto weight = NoiseAs<c10::BFloat16>(in * out, 1);
    const Numbers values = Packed(MatrixOf(weight, in));
    const auto x = NoiseAs<c10::BFloat16>(40 * in, 3);
    const std::vector<double> sums = SumsInDoublePrecision(x, weight, in);
    for (int64_t rows = 1; rows <= 40; ++rows) {
      std::vector<float> bias;
      if (rows % 2 != 0) bias = Noise(Panels(out) * kPanel, 2);
      const Numbers y = Product(values, bias, in, out, x.data(), rows);
      for (int64_t i = 0; i < rows * out; ++i) {
        const double sum = sums[i] + (bias.empty() ? 0 : bias[i % out]);
        ASSERT_NEAR(static_cast<float>(y[i]), sum, std::abs(sum) / 256 + 1e-6 * static_cast<double>(in))
            << rows << " rows, " << in << " to " << out << ": " << i / out << " " << i % out;
      }
    }
  }
}

TEST_P(PairLinearTest, AnActivationAndAResidualFollowBeforeTheResultIsRounded) {
  constexpr int64_t kIn = 64, kOut = 67, kRows = 13;
  const Numbers values = Packed(MatrixOf(NoiseAs<c10::BFloat16>(kIn * kOut, 1), kIn));
  const std::vector<float> bias = Noise(Panels(kOut) * kPanel, 2);
  const PairWeights weights = {.in = kIn, .out = kOut, .values = values.data(), .bias = bias.data()};
  const auto x = NoiseAs<c10::BFloat16>(kRows * kIn, 3), residual = NoiseAs<c10::BFloat16>(kRows * kOut, 4);
  const std::vector<float> wide(residual.begin(), residual.end());
  std::vector<float> product(kRows * kOut), whole(kRows * kOut);
  MultiplyPairPanels(weights, x.data(), kRows, Epilogue<float>(), product.data());
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu}) {
    Numbers rounded(kRows * kOut);
    MultiplyPairPanels(weights, x.data(), kRows, {.activation = activation, .residual = residual.data()},
                       rounded.data());
    MultiplyPairPanels(weights, x.data(), kRows, {.activation = activation, .residual = wide.data()}, whole.data());
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_NEAR(whole[i], Activated(activation, product[i]) + wide[i], 1e-6 + 1e-6 * std::abs(product[i])) << i;
      EXPECT_EQ(rounded[i], c10::BFloat16(whole[i])) << i;
    }
  }
}

TEST_P(PairLinearTest, ARowHasTheSameBitsInEveryBatchAndOnEveryNumberOfThreads) {
  constexpr int64_t kIn = 1030, kOut = 515, kRows = 40;
  const Numbers values = Packed(MatrixOf(NoiseAs<c10::BFloat16>(kIn * kOut, 1), kIn));
  const std::vector<float> bias = Noise(Panels(kOut) * kPanel, 2);
  const auto x = NoiseAs<c10::BFloat16>(kRows * kIn, 3);
  const Numbers together = Product(values, bias, kIn, kOut, x.data(), kRows);
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 5}) {
    at::set_num_threads(count);
    for (int64_t rows = 1; rows <= kRows; ++rows) {
      const Numbers last(together.end() - rows * kOut, together.end());
      EXPECT_TRUE(SameBits(Product(values, bias, kIn, kOut, x.data() + (kRows - rows) * kIn, rows), last)) << rows;
    }
  }
  at::set_num_threads(threads);
}

TEST_P(PairLinearTest, ANumberThatIsNotFiniteSpoilsItsRowAlone) {
  constexpr int64_t kIn = 64, kOut = 32, kRows = 3;
  const Numbers values = Packed(MatrixOf(NoiseAs<c10::BFloat16>(kIn * kOut, 1), kIn));
  auto x = NoiseAs<c10::BFloat16>(kRows * kIn, 3);
  x[kIn + 5] = std::numeric_limits<float>::quiet_NaN();
  const Numbers y = Product(values, {}, kIn, kOut, x.data(), kRows);
  for (int64_t i = 0; i < kRows * kOut; ++i) {
    EXPECT_EQ(std::isnan(static_cast<float>(y[i])), i / kOut == 1) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, PairLinearTest, ::testing::ValuesIn(InstructionSets()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace diptych::blip2
