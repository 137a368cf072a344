// Keys and values of 8 bits, on every instruction set of this machine.
#include "blip2/kernels/rounded_kv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "blip2/kernels/processor.h"

namespace diptych::blip2 {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class RoundedKvTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  static std::vector<int8_t> Round(const std::vector<float>& numbers, int64_t width) {
    const auto vectors = static_cast<int64_t>(numbers.size()) / width;
    std::vector<int8_t> rounded(static_cast<size_t>(vectors * (width + kKvScaleBytes)), 99);
    RoundKv(WeightType::kFloat32, numbers.data(), vectors, width, rounded.data());
    return rounded;
  }
  static std::vector<float> Widen(const std::vector<int8_t>& rounded, int64_t width) {
    const auto vectors = static_cast<int64_t>(rounded.size()) / (width + kKvScaleBytes);
    std::vector<float> numbers(static_cast<size_t>(vectors * width), kNaN);
    WidenKv(rounded.data(), vectors, width, WeightType::kFloat32, numbers.data());
    return numbers;
  }

 private:
  const LimitedInstructionSet limited_{GetParam()};
};

TEST_P(RoundedKvTest, ANumberIsOffByHalfAStepAtMost) {
  for (const int64_t width : {1, 7, 16, 80, 127}) {
    std::vector<float> numbers;
    for (int64_t i = 0; i < 9 * width; ++i) numbers.push_back(std::sin(static_cast<float>(i * i)) * (1 + i / width));
    const std::vector<float> widened = Widen(Round(numbers, width), width);
    for (size_t i = 0; i < numbers.size(); ++i) {
      const float largest = 1 + static_cast<float>(i / width);
      EXPECT_NEAR(widened[i], numbers[i], largest / 127 / 2 * 1.001F) << "width " << width << ", number " << i;
    }
  }
}

TEST_P(RoundedKvTest, EachVectorHasItsOwnScale) {
  const std::vector<float> numbers = {127, -64, 0, 0, 0, 0, 1.27e-6F, 1e-8F, -0.5e-8F};
  const std::vector<int8_t> rounded = Round(numbers, /*width=*/3);
  const std::vector<float> widened = Widen(rounded, /*width=*/3);
  EXPECT_EQ(std::vector<float>(widened.begin(), widened.begin() + 6), (std::vector<float>{127, -64, 0, 0, 0, 0}));
  EXPECT_FLOAT_EQ(widened[6], 1.27e-6F);
  EXPECT_FLOAT_EQ(widened[7], 1e-8F);
}

TEST_P(RoundedKvTest, WhatIsNotFiniteMakesItsVectorNotANumber) {
  for (const int64_t width : {3, 80}) {
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      for (const int64_t place : {int64_t{0}, width - 1}) {
        std::vector<float> numbers(static_cast<size_t>(2 * width), 1.5F);
        numbers[place] = bad;
        const std::vector<float> widened = Widen(Round(numbers, width), width);
        for (int64_t i = 0; i < width; ++i) EXPECT_TRUE(std::isnan(widened[i])) << bad << ", number " << i;
        EXPECT_EQ(widened[width], 1.5F);
      }
    }
  }
}

TEST_P(RoundedKvTest, TheLeastAndTheGreatestNumbersKeepTheirSign) {
  for (const float size : {std::numeric_limits<float>::denorm_min(), 1e-40F, 3e38F}) {
    const std::vector<float> widened = Widen(Round({size, -size}, /*width=*/2), /*width=*/2);
    EXPECT_GE(widened[0], 0) << size;
    EXPECT_LE(widened[1], 0) << size;
    EXPECT_TRUE(std::isfinite(widened[0])) << size;
  }
}

TEST_P(RoundedKvTest, EveryProcessorGivesTheSameBits) {
  std::vector<float> numbers;
  for (int i = 0; i < 80 * 40; ++i) numbers.push_back(std::sin(0.37F * static_cast<float>(i)) * 3);
  const std::vector<int8_t> here = Round(numbers, /*width=*/80);
  const LimitedInstructionSet plain(InstructionSets().back());
  EXPECT_EQ(Round(numbers, /*width=*/80), here);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, RoundedKvTest, ::testing::ValuesIn(InstructionSets()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace diptych::blip2
