// Products with weights of 8 and 4 bits, on every instruction set of this machine.
#include "blip2/kernels/integer_linear.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "blip2/kernels/processor.h"
#include "tests/blip2/kernels/integer_inputs.h"

namespace diptych::blip2 {
namespace {

std::vector<float> Product(const Matrix& matrix, const IntegerRows& x) {
  std::vector<float> y(static_cast<size_t>(x.rows * matrix.weights.out), std::numeric_limits<float>::quiet_NaN());
  MultiplyIntegers(matrix.weights, x, {}, y.data());
  return y;
}

// The same in the plainest way, from the matrix's numbers w.
std::vector<double> Reference(const Matrix& matrix, const std::vector<std::vector<int>>& w, const IntegerRows& x) {
  std::vector<double> y;
  for (int64_t r = 0; r < x.rows; ++r) {
    const int16_t* row = x.values.data() + r * x.padded;
    for (int64_t o = 0; o < matrix.weights.out; ++o) {
      const double sum = std::inner_product(w[o].begin(), w[o].end(), row, 0.0);
      y.push_back(sum * matrix.scales[o] * x.scales[r] + matrix.bias[o]);
    }
  }
  return y;
}

class IntegerLinearTest : public ::testing::TestWithParam<std::tuple<InstructionSet, IntegerType, ActivationBits>> {
 protected:
  IntegerType Type() const { return std::get<1>(GetParam()); }
  IntegerRows Round(const float* x, int64_t rows, int64_t in) const {
    return RoundRows(x, nullptr, rows, in, std::get<2>(GetParam()));
  }

 private:
  const LimitedInstructionSet limited_{std::get<0>(GetParam())};
};

TEST_P(IntegerLinearTest, IsTheProductOfTheRoundedNumbers) {
  // Widths and outputs that fill no group and no panel, one of more than one block, and rows of every tile's height.
  for (const auto& [in, out] :
       {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {64, 16}, {131, 67}, {520, 259}, {4200, 40}}) {
    const Matrix matrix(Type(), in, out);
    const std::vector<float> x = Noise(40 * in, 3);
    const std::vector<double> expected = Reference(matrix, matrix.Numbers(), Round(x.data(), 40, in));
    for (const int64_t rows : {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 20, 24, 25, 33, 40}) {
      const std::vector<float> y = Product(matrix, Round(x.data(), rows, in));
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], expected[i], 1e-6 * std::abs(expected[i]) + 2e-6 * std::sqrt(in))
            << rows << " rows, " << in << " to " << out << ", number " << i;
      }
    }
  }
}

TEST_P(IntegerLinearTest, AnActivationAndAResidualFollow) {
  const int64_t in = 131, out = 67;  // fills no panel
  const Matrix matrix(Type(), in, out);
  for (const int64_t rows : {1, 7, 12, 13, 40}) {
    const IntegerRows x = Round(Noise(rows * in, 3).data(), rows, in);
    const std::vector<float> product = Product(matrix, x);
    const std::vector<float> residual = Noise(rows * out, 4);
    for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu}) {
      std::vector<float> y(product.size(), std::numeric_limits<float>::quiet_NaN());
      MultiplyIntegers(matrix.weights, x, {.activation = activation, .residual = residual.data()}, y.data());
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], Activated(activation, product[i]) + residual[i], 1e-6 + 1e-6 * std::abs(product[i]))
            << rows << " rows, number " << i;
      }
    }
  }
}

TEST_P(IntegerLinearTest, OutliersCostTheOtherNumbersNothing) {
  const int64_t in = 520, rows = 40, out = 67;
  const Matrix matrix(Type(), in, out);
  const std::vector<std::vector<int>> w = matrix.Numbers();
  const std::vector<float> values = WithOutliers(rows, in);
  const IntegerRows x = Round(values.data(), rows, in);
  const std::vector<double> expected = Reference(matrix, w, x);
  for (const int64_t count : {1L, 5L, 8L, 9L, rows}) {
    IntegerRows few = x;
    few.rows = count;
    const std::vector<float> y = Product(matrix, few);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 1e-6 * std::abs(expected[i]) + 1e-3) << i;
  }
  if (x.bits == ActivationBits::k14) return;
  for (int64_t r = 0; r < rows; ++r) {
    EXPECT_LT(x.scales[r], 0.05) << "the scale is that of the noise";
    EXPECT_LE(x.outlier_counts[r], 5);
    for (int64_t k = 0; k < in; ++k) {
      EXPECT_NEAR(x.values[r * x.padded + k] * x.scales[r], values[r * in + k], x.scales[r] * 0.51);
    }
  }
}

TEST_P(IntegerLinearTest, TheLargestNumbersDoNotOverflow) {
  const int64_t in = 4096 + 192;
  Matrix matrix(Type(), in, kPanel);
  const std::vector<float> ones(static_cast<size_t>(in * kPanel), 1.0F);
  PackWeights(
      Type(), {.blocks = {{.type = WeightType::kFloat32, .data = ones.data(), .rows = kPanel}}, .in = in}, {},
      {.values = matrix.values.data(), .multipliers = matrix.multipliers.data(), .scales = matrix.scales.data()});
  matrix.bias.assign(kPanel, 0);
  matrix.weights.bias = nullptr;
  for (const int64_t rows : {1, 20}) {
    std::vector<float> x(static_cast<size_t>(in * rows), 1.0F);
    std::fill_n(x.begin(), in, -1.0F);
    const std::vector<float> y = Product(matrix, Round(x.data(), rows, in));
    for (int64_t r = 0; r < rows; ++r) EXPECT_NEAR(y[r * kPanel], r == 0 ? -in : in, 1e-6 * in) << r;
  }
}

TEST_P(IntegerLinearTest, ARowHasTheSameBitsInEveryBatch) {
  const int64_t in = 2500, most = 70;
  const Matrix matrix(Type(), in, 83);
  const std::vector<float> x = Noise(most * in, 4);
  const std::vector<float> together = Product(matrix, Round(x.data(), most, in));
  for (const int64_t rows : {1, 2, 3, 8, 9, 13, 15, 16, 17, 24, 25, 33, 64}) {
    const std::vector<float> y = Product(matrix, Round(x.data() + (most - rows) * in, rows, in));
    EXPECT_TRUE(std::equal(y.begin(), y.end(), together.end() - static_cast<int64_t>(y.size()))) << rows;
  }
}

TEST_P(IntegerLinearTest, TheNumberOfThreadsChangesNoBit) {
  const Matrix matrix(Type(), 1024, 515);
  const int threads = at::get_num_threads();
  for (const int64_t rows : {3, 40}) {
    const IntegerRows x = Round(Noise(rows * 1024, 5).data(), rows, 1024);
    at::set_num_threads(1);
    const std::vector<float> alone = Product(matrix, x);
    for (const int count : {2, 3, 5}) {
      at::set_num_threads(count);
      EXPECT_EQ(Product(matrix, x), alone) << count;
    }
  }
  at::set_num_threads(threads);
}

TEST_P(IntegerLinearTest, ARowThatIsNotFiniteStaysAlone) {
  const Matrix matrix(Type(), 100, 20);
  std::vector<float> x = Noise(3 * 100, 6);
  const std::vector<float> good = Product(matrix, Round(x.data(), 3, 100));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const int64_t place : {100, 199}) {  // in a vector, and after the last whole one
      std::vector<float> spoilt = x;
      spoilt[place] = bad;
      const std::vector<float> y = Product(matrix, Round(spoilt.data(), 3, 100));
      for (int64_t o = 0; o < 20; ++o) {
        EXPECT_EQ(y[o], good[o]);
        EXPECT_TRUE(std::isnan(y[20 + o]));
        EXPECT_EQ(y[40 + o], good[40 + o]);
      }
    }
  }
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<InstructionSet, IntegerType, ActivationBits>>& info) {
  const bool int8 = std::get<1>(info.param) == IntegerType::kInt8;
  const bool fine = std::get<2>(info.param) == ActivationBits::k14;
  return std::string(Name(std::get<0>(info.param))) + (int8 ? "Int8" : "Int4") + (fine ? "Bits14" : "Bits7");
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, IntegerLinearTest,
                         ::testing::Combine(::testing::ValuesIn(InstructionSets()),
                                            ::testing::Values(IntegerType::kInt8, IntegerType::kInt4),
                                            ::testing::Values(ActivationBits::k7, ActivationBits::k14)),
                         NameOf);

}  // namespace
}  // namespace diptych::blip2
