// Linear maps, by libtorch's product and by our kernels on every instruction set of this machine.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "blip2/kernels/processor.h"
#include "blip2/layers.h"
#include "tests/blip2/tensors.h"

namespace diptych::blip2 {
namespace {

Linear NoisyLinear(int64_t in, int64_t out, at::ScalarType dtype, bool bias = true) {
  Linear linear{.weight = Noise({out, in}, dtype, 1), .bias = {}, .integers = {}};
  if (bias) linear.bias = Noise({out}, dtype, 2);
  return linear;
}

class LinearTest : public ::testing::TestWithParam<std::tuple<InstructionSet, at::ScalarType>> {
 protected:
  at::ScalarType Type() const { return std::get<1>(GetParam()); }

 private:
  const LimitedInstructionSet limited_{std::get<0>(GetParam())};
};

TEST_P(LinearTest, IsTheProductInDoublePrecisionRoundedOnce) {
  const double rounding = Type() == at::kFloat ? 1e-6 : Type() == at::kHalf ? 1e-3 : 8e-3;
  // Widths that no vector divides, and outputs and rows that fill no tile.
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {64, 12}, {131, 67}, {520, 259}}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 8, 11, 16, 17, 40}) {
      for (const bool bias : {true, false}) {
        const Linear linear = NoisyLinear(in, out, Type(), bias);
        const at::Tensor x = Noise({rows, in}, Type(), 3);
        at::Tensor expected = at::matmul(x.to(at::kDouble), linear.weight.to(at::kDouble).t());
        if (bias) expected += linear.bias->to(at::kDouble);
        const at::Tensor y = linear(x);
        ASSERT_EQ(y.scalar_type(), Type());
        ASSERT_EQ(y.sizes(), expected.sizes());
        const at::Tensor allowed = expected.abs() * rounding + 1e-6 * static_cast<double>(in);
        EXPECT_TRUE(((y.to(at::kDouble) - expected).abs() <= allowed).all().item<bool>())
            << rows << " rows, " << in << " to " << out;
      }
    }
  }
}

TEST_P(LinearTest, ARowHasTheSameBitsInEveryBatch) {
  const Linear linear = NoisyLinear(517, 301, Type());
  const at::Tensor x = Noise({16, 517}, Type(), 4);
  const at::Tensor together = linear(x);
  for (int64_t rows = 1; rows < 16; ++rows) {
    EXPECT_TRUE(linear(x.narrow(0, 16 - rows, rows)).equal(together.narrow(0, 16 - rows, rows))) << rows;
  }
}

TEST_P(LinearTest, TheNumberOfThreadsChangesNoBit) {
  const Linear linear = NoisyLinear(1024, 2051, Type());
  const at::Tensor x = Noise({8, 1024}, Type(), 5);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = linear(x);
  for (const int count : {2, 3, 5}) {
    at::set_num_threads(count);
    EXPECT_TRUE(linear(x).equal(alone)) << count;
  }
  at::set_num_threads(threads);
}

TEST_P(LinearTest, TakesAnyShapeAndStrides) {
  const Linear linear = NoisyLinear(24, 10, Type());
  const at::Tensor x = Noise({2, 24, 3}, Type(), 6);
  const at::Tensor y = linear(x.transpose(1, 2));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 10}));
  EXPECT_TRUE(y[1][2].equal(linear(x[1].select(1, 2).contiguous())));
  EXPECT_EQ(linear(Noise({0, 24}, Type(), 7)).sizes(), (std::vector<int64_t>{0, 10}));
}

TEST_P(LinearTest, AnActivationAndAResidualFollow) {
  const Linear linear = NoisyLinear(24, 10, Type());
  const at::Tensor x = Noise({2, 3, 24}, Type(), 6), residual = Noise({2, 3, 10}, Type(), 9);
  const at::Tensor product = linear(x);
  EXPECT_TRUE(linear(x, {.activation = Activation::kRelu}).equal(product.relu()));
  EXPECT_TRUE(linear(x, {.activation = Activation::kGelu, .residual = residual}).equal(at::gelu(product) + residual));
}

TEST_P(LinearTest, RefusesAnotherWidthOrType) {
  const Linear linear = NoisyLinear(24, 10, Type());
  EXPECT_THROW(linear(Noise({3, 25}, Type(), 8)), c10::Error);
  EXPECT_THROW(linear(Noise({3, 24}, at::kDouble, 8)), c10::Error);
}

TEST(PairMatrixTest, IsTheProductAndRefusesAnotherWidthOrType) {
  const Linear linear = NoisyLinear(24, 10, at::kBFloat16);
  const PairMatrix pairs({linear.weight.narrow(0, 0, 3), linear.weight.narrow(0, 3, 7)}, linear.bias);
  const at::Tensor x = Noise({2, 24, 3}, at::kBFloat16, 6).transpose(1, 2);
  EXPECT_TRUE(pairs(x).allclose(linear(x), /*rtol=*/8e-3, /*atol=*/1e-4));
  EXPECT_EQ(pairs(x.narrow(0, 0, 0)).sizes(), (std::vector<int64_t>{0, 3, 10}));
  EXPECT_THROW(pairs(Noise({3, 25}, at::kBFloat16, 8)), c10::Error);
  EXPECT_THROW(pairs(Noise({3, 24}, at::kDouble, 8)), c10::Error);
  EXPECT_THROW(pairs(x, {.residual = Noise({2, 3, 11}, at::kBFloat16, 9)}), c10::Error);
}

TEST(PairMatrixTest, NumbersOfFloat32AreRoundedForTheProductAlone) {
  const Linear linear = NoisyLinear(24, 10, at::kFloat);
  const at::Tensor x = Noise({2, 3, 24}, at::kFloat, 6), residual = Noise({2, 3, 10}, at::kFloat, 9);
  const at::Tensor y = PairMatrix(linear.weight, linear.bias)(x, {.residual = residual});
  const at::Tensor product = at::linear(x.to(at::kBFloat16).to(at::kDouble),
                                        linear.weight.to(at::kBFloat16).to(at::kDouble), linear.bias->to(at::kDouble));
  EXPECT_TRUE(y.to(at::kDouble).allclose(product + residual, /*rtol=*/1e-6, /*atol=*/1e-6));
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest,
                         ::testing::Combine(::testing::ValuesIn(InstructionSets()),
                                            ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf)),
                         [](const auto& info) {
                           return std::string(Name(std::get<0>(info.param))) + c10::toString(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace diptych::blip2
