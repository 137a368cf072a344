#include "blip2/matrices/integer_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip2/opt.h"
#include "blip2/qformer.h"
#include "blip2/vision_model.h"
#include "tests/blip2/tensors.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

struct Tolerance {
  IntegerType type;
  double of_product;  // of the norm
  double with_few_activation_bits;
  double of_model;
};

class IntegerMatrixTest : public ::testing::TestWithParam<Tolerance> {
 protected:
  IntegerType Type() const { return GetParam().type; }
};

TEST_P(IntegerMatrixTest, IsNearTheProduct) {
  const at::Tensor weight = Noise({96, 300}, at::kFloat, 1), bias = Noise({96}, at::kFloat, 2),
                   x = Noise({2, 9, 300}, at::kFloat, 3);
  const at::Tensor y = IntegerMatrix(Type(), weight, bias, {})(x);
  EXPECT_LT(RelativeDifference(y, at::linear(x, weight, bias)), GetParam().of_product);
}

TEST_P(IntegerMatrixTest, FewerBitsOfActivationsCostLittle) {
  const at::Tensor weight = Noise({96, 300}, at::kFloat, 1), bias = Noise({96}, at::kFloat, 2),
                   x = Noise({2, 9, 300}, at::kFloat, 3);
  const at::Tensor y = IntegerMatrix(Type(), weight, bias, {}, ActivationBits::k7)(x);
  EXPECT_LT(RelativeDifference(y, at::linear(x, weight, bias)), GetParam().with_few_activation_bits);
}

TEST_P(IntegerMatrixTest, AnOutlierChannelCostsTheOthersNothing) {
  const at::Tensor weight = Noise({96, 300}, at::kFloat, 1), x = Noise({40, 300}, at::kFloat, 3);
  at::Tensor magnitudes = at::ones({300}), small = weight.clone(), large = x.clone();
  // A factor that rounds nothing, on channels of the input.
  for (const int64_t channel : {0, 77, 299}) {
    magnitudes[channel] = 1024;
    small.select(1, channel).div_(1024);
    large.select(1, channel).mul_(1024);
  }
  const at::Tensor plain = IntegerMatrix(Type(), weight, {}, at::ones({300}))(x);
  EXPECT_LT(RelativeDifference(IntegerMatrix(Type(), small, {}, magnitudes)(large), plain), 1e-5);
}

TEST_P(IntegerMatrixTest, SaysHowLargeItsOutputsAre) {
  const at::Tensor weight = Noise({5, 64}, at::kFloat, 1), bias = Noise({5}, at::kFloat, 2),
                   magnitudes = Noise({64}, at::kFloat, 4).abs();
  const at::Tensor expected = at::hypot((weight * magnitudes).norm(2, 1), bias);
  EXPECT_TRUE(at::allclose(IntegerMatrix(Type(), weight, bias, magnitudes).output_magnitudes(), expected));
}

TEST_P(IntegerMatrixTest, TakesAnyShapeTypeAndStrides) {
  const IntegerMatrix matrix(Type(), Noise({10, 24}, at::kFloat, 1), {}, {});
  const at::Tensor x = Noise({2, 24, 3}, at::kFloat, 6);
  const at::Tensor y = matrix(x.transpose(1, 2));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 10}));
  EXPECT_TRUE(y[1][2].equal(matrix(x[1].select(1, 2).contiguous())));
  EXPECT_EQ(matrix(Noise({0, 24}, at::kFloat, 7)).sizes(), (std::vector<int64_t>{0, 10}));
  EXPECT_EQ(matrix(x.transpose(1, 2).to(at::kBFloat16)).scalar_type(), at::kBFloat16);
}

TEST_P(IntegerMatrixTest, RefusesAnotherWidthOrType) {
  const IntegerMatrix matrix(Type(), Noise({10, 24}, at::kFloat, 1), {}, {});
  EXPECT_THROW(matrix(Noise({3, 25}, at::kFloat, 8)), c10::Error);
  EXPECT_THROW(matrix(Noise({}, at::kFloat, 8)), c10::Error);
  EXPECT_THROW(matrix(at::ones({3, 24}, at::kLong)), c10::Error);
}

TEST_P(IntegerMatrixTest, AWholeModelStaysNearFloat32) {
  const testing::RandomCheckpoint checkpoint(testing::TinyConfig(), /*seed=*/10);
  const auto opened = checkpoint.Open();
  const at::Tensor pixels = Noise({1, 3, 20, 20}, at::kFloat, 1);
  const auto logits = [&](const Placement& placement) {
    const QFormer qformer(*opened, placement);
    const OptDecoder decoder(*opened, placement);
    const at::Tensor tokens = VisionModel(*opened, placement).Forward(pixels);
    const at::Tensor prompt =
        at::cat({qformer.Project(qformer.Forward(tokens)), decoder.Embed(std::vector<int64_t>{2, 9})}, 1);
    KvPool pool = decoder.MakeKvPool(/*blocks=*/1, /*block_tokens=*/20);
    const std::vector<int32_t> blocks = {0};
    const DecoderRow row{.embeddings = prompt[0], .past = 0, .blocks = blocks, .wants_logits = true};
    return decoder.Forward({&row, 1}, pool)[0];
  };
  EXPECT_LT(RelativeDifference(logits({.integers = Type()}), logits({})), GetParam().of_model);
}

TEST_P(IntegerMatrixTest, ASequenceHasTheSameBitsInEveryBatch) {
  const testing::RandomCheckpoint checkpoint(testing::TinyConfig(), /*seed=*/12);
  const OptDecoder decoder(*checkpoint.Open(), {.integers = Type()});
  const at::Tensor embeddings = decoder.Embed(std::vector<int64_t>{3, 5, 7, 9, 11, 13, 15})[0];
  KvPool pool = decoder.MakeKvPool(/*blocks=*/3, /*block_tokens=*/20);
  const std::vector<std::vector<int32_t>> tables = {{0}, {1}, {2}};
  const auto row = [&](int64_t table, int64_t first, int64_t tokens, int64_t past) {
    return DecoderRow{
        .embeddings = embeddings.narrow(0, first, tokens), .past = past, .blocks = tables[table], .wants_logits = true};
  };
  const auto ask = [&](std::vector<DecoderRow> rows) { return decoder.Forward(rows, pool); };
  ask({row(0, 0, 6, 0)});
  const at::Tensor alone = ask({row(0, 6, 1, 6)})[0];
  ask({row(1, 0, 6, 0)});
  // Besides the prompt of another sequence, which makes the rows many.
  EXPECT_TRUE(ask({row(2, 0, 5, 0), row(1, 6, 1, 6)})[1].equal(alone));
}

TEST_P(IntegerMatrixTest, TheModelIsAsSmallAsItsWeights) {
  const testing::RandomCheckpoint checkpoint(testing::TinyConfig(), /*seed=*/11);
  const auto opened = checkpoint.Open();
  const VisionModel floats(*opened, {}), integers(*opened, {.integers = Type()});
  EXPECT_EQ(integers.size().parameters, floats.size().parameters);
  EXPECT_EQ(OptDecoder(*opened, {.integers = Type()}).size().parameters, OptDecoder(*opened, {}).size().parameters);
  const at::Tensor weight = Noise({2560, 2560}, at::kFloat, 1);
  const double bytes = static_cast<double>(IntegerMatrix(Type(), weight, {}, {}).bytes()) / weight.numel();
  EXPECT_LT(bytes, Type() == IntegerType::kInt8 ? 1.01 : 0.53);
}

INSTANTIATE_TEST_SUITE_P(Types, IntegerMatrixTest,
                         ::testing::Values(Tolerance{IntegerType::kInt8, 0.008, 0.011, 0.03},
                                           Tolerance{IntegerType::kInt4, 0.13, 0.13, 0.35}),
                         [](const auto& info) { return info.param.type == IntegerType::kInt8 ? "Int8" : "Int4"; });

}  // namespace
}  // namespace diptych::blip2
