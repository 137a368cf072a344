// The kernel that rounds rows to 8-bit floats: its source as plain C++ against libtorch's operators, and compiled for
// cards where the compiler is installed.
#include "blip2/cuda/float8_rows.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "blip2/matrices/float8_matrix.h"
#include "tests/blip2/cuda/emulated_cuda.h"
#include "tests/blip2/cuda/nvrtc.h"

namespace diptych_cuda {

// As a card's instruction rounds.
inline unsigned short Float8Pair(float first, float second) {
  const auto bits = [](float x) {
    const float most = x > 448 ? 448.0F : x < -448 ? -448.0F : x;
    return static_cast<unsigned int>(c10::Float8_e4m3fn(most).x);
  };
  return static_cast<unsigned short>(bits(first) | bits(second) << 8);
}

}  // namespace diptych_cuda

// After the emulation and the instruction.
#include "blip2/cuda/float8_rows.cu"

namespace diptych::blip2 {
namespace {

using ::testing::HasSubstr;

struct Rounded {
  at::Tensor values;  // as bytes
  at::Tensor scales;
};

Rounded Round(const at::Tensor& rows, const RoundToFloat8& round) {
  const at::Tensor values = at::zeros(rows.sizes(), at::kByte), scales = at::zeros({rows.size(0), 1});
  round(rows, values.view(at::kFloat8_e4m3fn), scales);
  return {.values = values, .scales = scales};
}

void Emulate(const at::Tensor& rows, const at::Tensor& values, const at::Tensor& scales) {
  const auto* in = static_cast<const unsigned short*>(rows.const_data_ptr());
  auto* out = static_cast<unsigned char*>(values.mutable_data_ptr());
  emulated::Run({.x = static_cast<int>(rows.size(0)), .y = 1}, diptych_cuda::kRoundingThreads, [&] {
    diptych_cuda::RoundRow(in, out, scales.mutable_data_ptr<float>(), static_cast<int>(rows.size(1)));
  });
}

void ExpectTheSameBits(const at::Tensor& rows) {
  const Rounded kernel = Round(rows, Emulate), operators = Round(rows, RoundToFloat8ByOperators);
  EXPECT_TRUE(kernel.scales.equal(operators.scales));
  EXPECT_TRUE(kernel.values.equal(operators.values));
}

TEST(Float8RowsKernelTest, GivesTheBitsOfTheOperators) {
  // Fewer numbers than threads, and more than they load at once.
  for (const int64_t width : {16, 1408, 2560}) {
    const at::Tensor noise = at::sin(at::arange(5 * width, at::kDouble).square().mul_(0.3)).view({5, width});
    ExpectTheSameBits((noise * at::logspace(-30, 30, 5).unsqueeze(1)).to(at::kBFloat16));
  }
}

// 2 to the power of 8.75, where 448 would round to, in steps through all binades down to zero.
TEST(Float8RowsKernelTest, GivesTheBitsOfTheOperatorsForEveryNumberOfARow) {
  const at::Tensor bits = at::arange(0x7f80, at::kShort).view({-1, 16 * 34}).view(at::kBFloat16);  // all finite ones
  ExpectTheSameBits(bits);
  ExpectTheSameBits(bits.neg());
}

TEST(Float8RowsKernelTest, ARowOfZerosStaysAndWhatIsNotFiniteIsToldSo) {
  at::Tensor rows = at::ones({3, 32}, at::kBFloat16);
  rows[0].zero_();
  rows[1][7] = std::numeric_limits<double>::quiet_NaN();
  rows[2][7] = -std::numeric_limits<double>::infinity();
  const Rounded rounded = Round(rows, Emulate);
  const at::Tensor values = rounded.values.view(at::kFloat8_e4m3fn).to(at::kFloat) * rounded.scales;
  EXPECT_TRUE(values[0].eq(0).all().item<bool>());
  for (const int64_t row : {1, 2}) EXPECT_TRUE(values[row][7].isnan().item<bool>()) << row;
}

TEST(Float8RowsCompilerTest, AcceptsTheKernelForCardsThatHaveTheType) {
  if (!OpenNvrtcForTests()) GTEST_SKIP() << "no NVRTC here; scripts/setup.sh fetches it";
  for (const char* card : {"sm_89", "sm_90", "sm_100", "sm_120"}) {
    const auto code = CompileKernel(Float8RowsSource(), card);
    ASSERT_TRUE(code.ok()) << code.status();
    EXPECT_THAT(*code, HasSubstr("Float8Rows"));
  }
  EXPECT_FALSE(CompileKernel(Float8RowsSource(), "sm_80").ok()) << "it has no such numbers";
}

}  // namespace
}  // namespace diptych::blip2
