#include "blip2/matrices/float8_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "blip2/opt.h"
#include "blip2/vision_model.h"
#include "tests/blip2/tensors.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

constexpr double kOfBFloat16 = 8e-3;  // how far its rounding may be off

// All finite numbers of the type, as doubles.
at::Tensor AllFloat8() {
  std::vector<double> all;
  for (int bits = 0; bits < 256; ++bits) {
    const auto number =
        static_cast<float>(c10::Float8_e4m3fn(static_cast<uint8_t>(bits), c10::Float8_e4m3fn::from_bits()));
    if (std::isfinite(number)) all.push_back(number);
  }
  return at::tensor(all, at::kDouble);
}

// What rows [N, in] become, [N, in] in double precision: the nearest number of the type, times the row's scale.
at::Tensor Nearest(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kDouble), scale = wide.abs().amax(1, /*keepdim=*/true) / 448;
  const at::Tensor all = AllFloat8();
  const at::Tensor which = (wide / scale).unsqueeze(2).sub(all).abs().argmin(2);
  return all.index_select(0, which.flatten()).view(wide.sizes()) * scale;
}

TEST(Float8RoundingTest, EachNumberBecomesTheNearestAndTheLargestOfItsRowStays) {
  const at::Tensor rows = Noise({9, 160}, at::kBFloat16, 3) * at::logspace(-6, 6, 9).unsqueeze(1).to(at::kBFloat16);
  const at::Tensor values = at::empty(rows.sizes(), at::kFloat8_e4m3fn), scales = at::empty({9, 1});
  RoundToFloat8ByOperators(rows, values, scales);
  const at::Tensor rounded = values.to(at::kDouble) * scales.to(at::kDouble);
  // Ties may go either way; both are as near.
  const at::Tensor off = (rounded - rows.to(at::kDouble)).abs(), least = (Nearest(rows) - rows.to(at::kDouble)).abs();
  EXPECT_TRUE((off <= least * (1 + 1e-4) + rows.to(at::kDouble).abs() * 1e-6).all().item<bool>());
  EXPECT_TRUE(values.to(at::kFloat).abs().amax(1).eq(448).all().item<bool>());
}

TEST(Float8MatrixTest, IsTheProductOfTheRoundedNumbers) {
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{16, 16}, {64, 48}, {528, 272}}) {
    for (const int64_t rows : {1, 2, 17, 40}) {
      for (const bool with_bias : {true, false}) {
        const at::Tensor weight = Noise({out, in}, at::kBFloat16, 1), x = Noise({rows, in}, at::kBFloat16, 3);
        const auto bias = with_bias ? std::optional(Noise({out}, at::kBFloat16, 2)) : std::nullopt;
        at::Tensor expected = at::matmul(Nearest(x), Nearest(weight).t());
        if (bias) expected += bias->to(at::kDouble);
        const at::Tensor y = Float8Matrix(weight, bias)(x);
        ASSERT_EQ(y.scalar_type(), at::kBFloat16);
        EXPECT_LT(RelativeDifference(y, expected), kOfBFloat16) << rows << " rows, " << in << " to " << out;
      }
    }
  }
}

TEST(Float8MatrixTest, IsNearTheProductAlsoBesideOutliers) {
  for (const double gain : {1, 60, 1000}) {
    at::Tensor weight = Noise({96, 320}, at::kBFloat16, 1), x = Noise({40, 320}, at::kBFloat16, 3);
    const at::Tensor expected = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
    for (const int64_t channel : {0, 77, 319}) {
      weight.select(1, channel).div_(gain);
      x.select(1, channel).mul_(gain);
    }
    EXPECT_LT(RelativeDifference(Float8Matrix(weight, std::nullopt)(x), expected), 0.045) << "channels times " << gain;
  }
}

TEST(Float8MatrixTest, TakesAnyShapeAndStridesAndNothing) {
  const Float8Matrix matrix(Noise({32, 16}, at::kBFloat16, 1), Noise({32}, at::kBFloat16, 2));
  const at::Tensor x = Noise({2, 16, 3}, at::kBFloat16, 6);
  const at::Tensor y = matrix(x.transpose(1, 2));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 32}));
  EXPECT_TRUE(y[1][2].equal(matrix(x[1].select(1, 2).contiguous())));
  EXPECT_EQ(matrix(Noise({0, 16}, at::kBFloat16, 7)).sizes(), (std::vector<int64_t>{0, 32}));
}

TEST(Float8MatrixTest, ARowOfZerosGivesTheBiasAndWhatIsNotANumberStaysInItsRow) {
  const at::Tensor bias = Noise({32}, at::kBFloat16, 2);
  at::Tensor x = Noise({4, 16}, at::kBFloat16, 3);
  x[1].zero_();
  x[2][5] = std::numeric_limits<double>::quiet_NaN();
  x[3][5] = std::numeric_limits<double>::infinity();
  const at::Tensor y = Float8Matrix(Noise({32, 16}, at::kBFloat16, 1), bias)(x);
  EXPECT_TRUE(y[0].isfinite().all().item<bool>());
  EXPECT_TRUE(y[1].equal(bias));
  for (const int64_t row : {2, 3}) EXPECT_TRUE(y[row].isnan().all().item<bool>()) << row;
}

TEST(Float8MatrixTest, RefusesAnotherWidthOrType) {
  const Float8Matrix matrix(Noise({32, 16}, at::kBFloat16, 1), std::nullopt);
  EXPECT_THROW(matrix(Noise({3, 32}, at::kBFloat16, 8)), c10::Error);
  EXPECT_THROW(matrix(Noise({3, 16}, at::kBFloat16, 8).to(at::kFloat)), c10::Error);
  EXPECT_THROW(Float8Matrix(Noise({32, 24}, at::kBFloat16, 1), std::nullopt), c10::Error);
  EXPECT_FALSE(Float8Matrix::Takes(24, 16));
  EXPECT_TRUE(Float8Matrix::Takes(4224, 1408));
}

// Widths that a card takes, and one that stays in bfloat16.
Config WideConfig() {
  Config config = testing::TinyConfig();
  config.vision.hidden_size = 48;
  config.vision.intermediate_size = 40;
  config.text.ffn_dim = 64;
  return config;
}

TEST(Float8ModelTest, IsNearBFloat16AndHoldsHalfTheBytes) {
  const Placement bfloat16 = {.dtype = at::kBFloat16}, float8 = {.dtype = at::kBFloat16, .float8 = true};
  const testing::RandomCheckpoint random(WideConfig(), /*seed=*/5);
  const auto checkpoint = random.Open();
  const VisionModel vision(*checkpoint, bfloat16), vision8(*checkpoint, float8);
  const at::Tensor pixels = Noise({2, 3, 20, 20}, at::kBFloat16, 1).to(at::kFloat);
  EXPECT_LT(RelativeDifference(vision8.Forward(pixels), vision.Forward(pixels)), 0.1);
  EXPECT_FALSE(vision8.Forward(pixels).equal(vision.Forward(pixels)));
  EXPECT_EQ(vision8.size().parameters, vision.size().parameters);

  const OptDecoder decoder(*checkpoint, bfloat16), decoder8(*checkpoint, float8);
  const std::vector<int32_t> blocks = {0, 1};
  const auto logits = [&](const OptDecoder& model) {
    KvPool pool = model.MakeKvPool(2, 8);
    return model.Forward(
        {{{.embeddings = Noise({6, 32}, at::kBFloat16, 2), .past = 0, .blocks = blocks, .wants_logits = true}}}, pool);
  };
  EXPECT_LT(RelativeDifference(logits(decoder8), logits(decoder)), 0.1);
  EXPECT_LT(decoder8.size().bytes, decoder.size().bytes);
  EXPECT_EQ(decoder8.size().parameters, decoder.size().parameters);
}

}  // namespace
}  // namespace diptych::blip2
