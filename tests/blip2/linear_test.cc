// Linear maps, by libtorch's product and by our kernel.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "blip2/layers.h"

namespace diptych::blip2 {
namespace {

// [shape] of the dtype, in (−1, 1); another one for each `seed`.
at::Tensor Noise(std::vector<int64_t> shape, at::ScalarType dtype, int64_t seed) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return at::sin(at::arange(count, at::kDouble).add_(977 * seed).square().mul_(0.3)).view(shape).to(dtype);
}

Linear NoisyLinear(int64_t in, int64_t out, at::ScalarType dtype, bool bias = true) {
  Linear linear{.weight = Noise({out, in}, dtype, 1), .bias = {}};
  if (bias) linear.bias = Noise({out}, dtype, 2);
  return linear;
}

class LinearTest : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(LinearTest, IsTheProductInDoublePrecisionRoundedOnce) {
  const double rounding = GetParam() == at::kFloat ? 1e-6 : GetParam() == at::kHalf ? 1e-3 : 8e-3;
  // Widths that no vector divides, and outputs and rows that fill no tile.
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {64, 12}, {131, 67}, {520, 259}}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 8, 11, 16, 17, 40}) {
      for (const bool bias : {true, false}) {
        const Linear linear = NoisyLinear(in, out, GetParam(), bias);
        const at::Tensor x = Noise({rows, in}, GetParam(), 3);
        at::Tensor expected = at::matmul(x.to(at::kDouble), linear.weight.to(at::kDouble).t());
        if (bias) expected += linear.bias->to(at::kDouble);
        const at::Tensor y = linear(x);
        ASSERT_EQ(y.scalar_type(), GetParam());
        ASSERT_EQ(y.sizes(), expected.sizes());
        const at::Tensor allowed = expected.abs() * rounding + 1e-6 * static_cast<double>(in);
        EXPECT_TRUE(((y.to(at::kDouble) - expected).abs() <= allowed).all().item<bool>())
            << rows << " rows, " << in << " to " << out;
      }
    }
  }
}

TEST_P(LinearTest, ARowHasTheSameBitsInEveryBatch) {
  const Linear linear = NoisyLinear(517, 301, GetParam());
  const at::Tensor x = Noise({16, 517}, GetParam(), 4);
  const at::Tensor together = linear(x);
  for (int64_t rows = 1; rows < 16; ++rows) {
    EXPECT_TRUE(linear(x.narrow(0, 16 - rows, rows)).equal(together.narrow(0, 16 - rows, rows))) << rows;
  }
}

TEST_P(LinearTest, TheNumberOfThreadsChangesNoBit) {
  const Linear linear = NoisyLinear(1024, 2051, GetParam());
  const at::Tensor x = Noise({8, 1024}, GetParam(), 5);
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
  const Linear linear = NoisyLinear(24, 10, GetParam());
  const at::Tensor x = Noise({2, 24, 3}, GetParam(), 6);
  const at::Tensor y = linear(x.transpose(1, 2));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 10}));
  EXPECT_TRUE(y[1][2].equal(linear(x[1].select(1, 2).contiguous())));
  EXPECT_EQ(linear(Noise({0, 24}, GetParam(), 7)).sizes(), (std::vector<int64_t>{0, 10}));
}

TEST_P(LinearTest, RefusesAnotherWidthOrType) {
  const Linear linear = NoisyLinear(24, 10, GetParam());
  EXPECT_THROW(linear(Noise({3, 25}, GetParam(), 8)), c10::Error);
  EXPECT_THROW(linear(Noise({3, 24}, at::kDouble, 8)), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest, ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace diptych::blip2
