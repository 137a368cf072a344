#include "blip2/matrices/weight_only_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/opt.h"
#include "blip2/vision_model.h"
#include "tests/blip2/tensors.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

constexpr double kRoundings = 8e-3;  // how far bfloat16's may be off: of the inputs' factors, the scales and the result

// The weights that the kernels of the CPU multiply by, [out, in] in double precision: one row of the identity each,
// which 14 bits hold exactly.
at::Tensor WeightsOf(const IntegerMatrix& matrix, int64_t in) {
  return matrix(at::eye(in)).to(at::kDouble).t();
}

WeightOnlyMatrix OnThisCpu(const IntegerMatrix& matrix, const std::optional<at::Tensor>& bias = std::nullopt) {
  return {matrix, bias, c10::Device(c10::kCPU)};
}

class WeightOnlyTest : public ::testing::TestWithParam<IntegerType> {
 protected:
  static IntegerMatrix Rounded(const at::Tensor& weight, const at::Tensor& magnitudes = {}) {
    return {GetParam(), weight, std::nullopt, magnitudes};
  }
  static bool IsInt8() { return GetParam() == IntegerType::kInt8; }
};

TEST_P(WeightOnlyTest, WeightsAreThoseOfTheKernelsOfTheCpu) {
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{16, 64}, {48, 128}, {40, 100}}) {
    const IntegerMatrix matrix = Rounded(Noise({out, in}, at::kBFloat16, 1), Noise({in}, at::kBFloat16, 2).abs());
    const at::Tensor weights = Dequantized(GetParam(), matrix.parts(), out);
    ASSERT_EQ(weights.sizes(), (std::vector<int64_t>{out, in}));
    EXPECT_LT(RelativeDifference(weights, WeightsOf(matrix, in)), 1e-4) << in << " to " << out;
  }
}

TEST_P(WeightOnlyTest, IsTheProductOfTheRoundedNumbers) {
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{16, 64}, {48, 128}, {272, 320}}) {
    const IntegerMatrix matrix = Rounded(Noise({out, in}, at::kBFloat16, 1), Noise({in}, at::kBFloat16, 2).abs());
    for (const int64_t rows : {1, 2, 16, 17, 40}) {
      for (const bool with_bias : {true, false}) {
        const at::Tensor x = Noise({rows, in}, at::kBFloat16, 3);
        const auto bias = with_bias ? std::optional(Noise({out}, at::kBFloat16, 4)) : std::nullopt;
        at::Tensor expected = at::matmul(x.to(at::kDouble), WeightsOf(matrix, in).t());
        if (bias) expected += bias->to(at::kDouble);
        const at::Tensor y = OnThisCpu(matrix, bias)(x);
        ASSERT_EQ(y.scalar_type(), at::kBFloat16);
        EXPECT_LT(RelativeDifference(y, expected), kRoundings) << rows << " rows, " << in << " to " << out;
      }
    }
  }
}

TEST_P(WeightOnlyTest, IsNearTheProductAlsoBesideOutliers) {
  for (const double gain : {1, 60, 1000}) {
    at::Tensor weight = Noise({96, 320}, at::kBFloat16, 1), x = Noise({40, 320}, at::kBFloat16, 3),
               magnitudes = at::ones({320});
    const at::Tensor expected = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
    for (const int64_t channel : {0, 77, 319}) {
      weight.select(1, channel).div_(gain);
      x.select(1, channel).mul_(gain);
      magnitudes[channel] = gain;
    }
    const double off = RelativeDifference(OnThisCpu(Rounded(weight, magnitudes))(x), expected);
    EXPECT_LT(off, IsInt8() ? 0.012 : 0.12) << "channels times " << gain;
  }
}

TEST_P(WeightOnlyTest, TakesAnyShapeAndStridesAndNothing) {
  const WeightOnlyMatrix matrix = OnThisCpu(Rounded(Noise({32, 64}, at::kBFloat16, 1)), Noise({32}, at::kBFloat16, 2));
  const at::Tensor x = Noise({2, 64, 3}, at::kBFloat16, 6);
  const at::Tensor y = matrix(x.transpose(1, 2));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 32}));
  EXPECT_LT(RelativeDifference(y[1][2], matrix(x[1].select(1, 2).contiguous())), kRoundings);
  EXPECT_EQ(matrix(Noise({0, 64}, at::kBFloat16, 7)).sizes(), (std::vector<int64_t>{0, 32}));
  EXPECT_TRUE(matrix(at::zeros({1, 64}, at::kBFloat16))[0].equal(Noise({32}, at::kBFloat16, 2)));
}

TEST_P(WeightOnlyTest, RefusesAnotherWidthOrType) {
  const WeightOnlyMatrix matrix = OnThisCpu(Rounded(Noise({32, 64}, at::kBFloat16, 1)));
  EXPECT_THROW(matrix(Noise({3, 32}, at::kBFloat16, 8)), c10::Error);
  EXPECT_THROW(matrix(Noise({3, 64}, at::kBFloat16, 8).to(at::kFloat)), c10::Error);
  EXPECT_TRUE(WeightOnlyMatrix::Takes(GetParam(), 7680, 2560));
  EXPECT_EQ(WeightOnlyMatrix::Takes(GetParam(), 32, 96), IsInt8());
  EXPECT_EQ(WeightOnlyMatrix::Takes(GetParam(), 40, 64), IsInt8());
  EXPECT_FALSE(WeightOnlyMatrix::Takes(GetParam(), 32, 40));
  EXPECT_THROW(OnThisCpu(Rounded(Noise({32, 40}, at::kBFloat16, 1))), c10::Error);
}

TEST_P(WeightOnlyTest, SaysItsBytes) {
  const at::Tensor bias = Noise({48}, at::kBFloat16, 2);
  const WeightOnlyMatrix matrix = OnThisCpu(Rounded(Noise({48, 128}, at::kBFloat16, 1)), bias);
  EXPECT_EQ(matrix.bytes(), WeightOnlyMatrix::Bytes(GetParam(), 48, 128) + static_cast<int64_t>(bias.nbytes()));
}

at::Tensor LogitsOf(const OptDecoder& model, const Config& config) {
  const std::vector<int32_t> blocks = {0, 1};
  KvPool pool = model.MakeKvPool(2, 8);
  const at::Tensor embeddings =
      Noise({6, config.text.word_embed_proj_dim}, at::kBFloat16, 2).to(model.placement().dtype);
  return model.Forward({{{.embeddings = embeddings, .past = 0, .blocks = blocks, .wants_logits = true}}}, pool);
}

// Sides that int4 takes, and the vision transformer's, that stays in bfloat16.
TEST_P(WeightOnlyTest, TheDecoderIsRoundedAsOnTheCpuAndTheVisionTransformerIsNot) {
  for (const bool tied : {true, false}) {
    Config config = testing::TinyConfig();
    config.text.hidden_size = config.text.word_embed_proj_dim = 64;
    config.text.ffn_dim = 128;
    config.text.tie_word_embeddings = tied;
    const testing::RandomCheckpoint random(config, /*seed=*/5);
    const auto checkpoint = random.Open();
    const Placement bfloat16 = {.dtype = at::kBFloat16}, cpu = {.integers = GetParam()},
                    card = {.dtype = at::kBFloat16, .integers = GetParam()};
    const OptDecoder decoder(*checkpoint, card), on_cpu(*checkpoint, cpu);
    EXPECT_LT(RelativeDifference(LogitsOf(decoder, config), LogitsOf(on_cpu, config)), 0.03);
    EXPECT_LT(decoder.size().bytes, OptDecoder(*checkpoint, bfloat16).size().bytes);
    EXPECT_EQ(decoder.size().parameters, on_cpu.size().parameters);

    const VisionModel vision(*checkpoint, card), plain_vision(*checkpoint, bfloat16);
    const int64_t side = config.vision.image_size;
    const at::Tensor pixels = Noise({2, 3, side, side}, at::kBFloat16, 1).to(at::kFloat);
    EXPECT_EQ(DTypeName(vision.placement()), "bfloat16");
    EXPECT_EQ(vision.size().parameters, plain_vision.size().parameters);
    EXPECT_LT(RelativeDifference(vision.Forward(pixels), plain_vision.Forward(pixels)), 0.02);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, WeightOnlyTest, ::testing::Values(IntegerType::kInt8, IntegerType::kInt4),
                         [](const auto& info) {
                           return std::string(info.param == IntegerType::kInt8 ? "Int8" : "Int4");
                         });

}  // namespace
}  // namespace diptych::blip2
