// The product by tiles on a processor without them: its own source, compiled for tiles in plain C++. On a processor
// with AMX integer_linear_test runs the real ones.
#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <immintrin.h>

#include <limits>
#include <vector>

#include "blip2/kernels/finish_sums.h"
#include "blip2/kernels/integer_linear.h"
#include "blip2/kernels/processor.h"
#include "tests/blip2/kernels/amx_emulation.h"
#include "tests/blip2/kernels/integer_inputs.h"

#define MultiplyTiles MultiplyEmulatedTiles
#include "blip2/kernels/amx_linear.cc"  // NOLINT(bugprone-suspicious-include)
#undef MultiplyTiles

namespace diptych::blip2 {
namespace {

class AmxLinearTest : public ::testing::TestWithParam<IntegerType> {
 protected:
  void SetUp() override {
    if (!__builtin_cpu_supports("avx512bw")) GTEST_SKIP() << "what arranges the rows needs AVX-512";
  }
};

std::vector<float> Filled(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
}

TEST_P(AmxLinearTest, GivesTheBitsOfTheOtherKernels) {
  const LimitedInstructionSet limited(InstructionSet::kBaseline);
  // Widths and outputs that fill no group and no panel, more than one block, more than fits the cache; an odd number
  // of panels; rows that fill no tile, and more than one strip of them.
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {131, 67}, {520, 259}, {4200, 40}}) {
    const Matrix matrix(GetParam(), in, out);
    for (const int64_t rows : {1, 15, 16, 17, 33, 70, 250, 530}) {
      if (rows * in * out > 50'000'000) continue;
      const IntegerRows x = RoundRows(WithOutliers(rows, in).data(), nullptr, rows, in, ActivationBits::k7);
      std::vector<float> expected = Filled(rows * out), y = expected;
      MultiplyIntegers(matrix.weights, x, {}, expected.data());
      MultiplyEmulatedTiles(matrix.weights, x, {}, y.data());
      ASSERT_EQ(y, expected) << rows << " rows, " << in << " to " << out;
    }
  }
}

TEST_P(AmxLinearTest, LeavesTheTilesAsTheyWere) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // so that the tiles are this thread's
  auto& shape = emulated::OfThisThread().configuration;
  shape.palette = 1;
  shape.rows[5] = 7;
  const Matrix matrix(GetParam(), 64, 16);
  const IntegerRows x = RoundRows(Noise(64, 3).data(), nullptr, 1, 64, ActivationBits::k7);
  std::vector<float> y = Filled(16);
  MultiplyEmulatedTiles(matrix.weights, x, {}, y.data());
  at::set_num_threads(threads);
  EXPECT_EQ(shape.rows[5], 7);
}

INSTANTIATE_TEST_SUITE_P(Types, AmxLinearTest, ::testing::Values(IntegerType::kInt8, IntegerType::kInt4));

}  // namespace
}  // namespace diptych::blip2

#endif
