// What follows a product, on every instruction set of this machine.
#include "blip2/kernels/epilogue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "blip2/kernels/processor.h"
#include "tests/blip2/kernels/integer_inputs.h"

namespace diptych::blip2 {
namespace {

class EpilogueTest : public ::testing::TestWithParam<InstructionSet> {
  const LimitedInstructionSet limited_{GetParam()};
};

TEST_P(EpilogueTest, GeluIsThatOfTheErrorFunction) {
  std::vector<float> x;
  for (float at = -12; at <= 12; at += 0.001F) x.push_back(at);
  std::vector<float> y = x;
  Finish({.activation = Activation::kGelu}, static_cast<int64_t>(y.size()), y.data());
  for (size_t i = 0; i < y.size(); ++i) {
    const double exact = Activated(Activation::kGelu, x[i]);
    ASSERT_NEAR(y[i], exact, 2e-7 * std::abs(x[i]) + 1e-7 * std::abs(exact)) << x[i];
  }
}

TEST_P(EpilogueTest, EveryNumberIsFinishedOnce) {
  for (const int64_t count : {1, 15, 16, 17, 100003}) {
    const std::vector<float> x = Noise(count, 1), residual = Noise(count, 2);
    std::vector<float> y = x;
    Finish({.activation = Activation::kRelu, .residual = residual.data()}, count, y.data());
    for (int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], std::max(x[i], 0.0F) + residual[i]) << i;
  }
}

TEST_P(EpilogueTest, ANumberThatIsNoneStaysSo) {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu}) {
    std::vector<float> y(40, std::numeric_limits<float>::quiet_NaN());
    Finish({.activation = activation}, static_cast<int64_t>(y.size()), y.data());
    for (const float number : y) EXPECT_TRUE(std::isnan(number));
  }
  std::vector<float> y(20, std::numeric_limits<float>::infinity());
  Finish({.activation = Activation::kGelu}, static_cast<int64_t>(y.size()), y.data());
  for (const float number : y) EXPECT_TRUE(std::isinf(number));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, EpilogueTest, ::testing::ValuesIn(InstructionSets()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace diptych::blip2
