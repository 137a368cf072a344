#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/checkpoint/tensor_names.h"
#include "blip2/opt.h"
#include "blip2/qformer.h"
#include "blip2/vision_model.h"
#include "tests/blip2/formulas.h"
#include "tests/blip2/tensors.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::Formulas;
using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;

const Placement kFloat32;
constexpr double kFormulaTolerance = 2e-5;  // float32 against float64, on values of order one

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Values in (−1, 1) that look random and need no generator.
at::Tensor Wave(std::vector<int64_t> shape) {
  const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return at::sin(at::arange(count, at::kDouble).square().mul_(0.7)).to(at::kFloat).view(shape);
}

TEST(VisionModelTest, MatchesTheFormulas) {
  for (const bool qkv_bias : {true, false}) {
    Config config = TinyConfig();
    config.vision.qkv_bias = qkv_bias;
    const RandomCheckpoint checkpoint(config, /*seed=*/1);
    const at::Tensor pixels = Wave({1, 3, 20, 20});
    const at::Tensor tokens = VisionModel(*checkpoint.Open(), kFloat32).Forward(pixels);
    EXPECT_LT(MaxDifference(tokens[0], Formulas(config, checkpoint.weights()).VisualTokens(pixels[0])),
              kFormulaTolerance);
  }
}

TEST(VisionModelTest, InterpolatesThePositionsOfAnotherImageSize) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/2);
  const VisionModel model(*checkpoint.Open(), kFloat32);
  const Formulas formulas(checkpoint.config(), checkpoint.weights());
  for (const int64_t side : {5, 10, 35}) {
    const at::Tensor pixels = Wave({1, 3, side, side});
    EXPECT_LT(MaxDifference(model.Forward(pixels)[0], formulas.VisualTokens(pixels[0])), kFormulaTolerance) << side;
  }
}

TEST(VisionModelTest, GivesEachImageOfABatchItsOwnTokens) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/3);
  const VisionModel model(*checkpoint.Open(), kFloat32);
  const at::Tensor pixels = Wave({2, 3, 20, 20});
  const at::Tensor both = model.Forward(pixels);
  EXPECT_LT(MaxDifference(both[0], model.Forward(pixels.slice(0, 0, 1))[0]), kFormulaTolerance);
  EXPECT_LT(MaxDifference(both[1], model.Forward(pixels.slice(0, 1, 2))[0]), kFormulaTolerance);
  EXPECT_GT(MaxDifference(both[0], both[1]), 0.1);
}

TEST(VisionModelTest, ReadsPixelsThatAreNotContiguous) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/3);
  const VisionModel model(*checkpoint.Open(), kFloat32);
  const at::Tensor pixels = Wave({1, 3, 20, 20});
  const at::Tensor channels_last = pixels.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
  EXPECT_TRUE(model.Forward(pixels).equal(model.Forward(channels_last)));
}

TEST(VisionModelTest, RefusesASideThatIsNoMultipleOfThePatch) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/3);
  const VisionModel model(*checkpoint.Open(), kFloat32);
  EXPECT_THROW(model.Forward(Wave({1, 3, 21, 21})), c10::Error);
  EXPECT_THROW(model.Forward(Wave({1, 3, 20, 25})), c10::Error);
}

TEST(VisionModelTest, AnAnalysisHasTheSameTokensAndSharesThatSumToOne) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/3);
  const VisionModel model(*checkpoint.Open(), kFloat32);
  const at::Tensor pixels = Wave({2, 3, 20, 20});
  const VisionAnalysis analysis = model.Analyze(pixels);
  EXPECT_TRUE(analysis.tokens.equal(model.Forward(pixels)));
  EXPECT_EQ(analysis.class_attention.sizes(), (std::vector<int64_t>{2, analysis.tokens.size(1)}));
  EXPECT_LT(MaxDifference(analysis.class_attention.sum(1), at::ones({2})), kFormulaTolerance);
  EXPECT_EQ(model.Analyze(pixels.slice(0, 0, 1)).class_attention.size(0), 1);
}

TEST(QFormerTest, AnAnalysisHasTheSameQueriesAndSharesThatSumToOne) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/5);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const QFormer model(*checkpoint.Open(), Placement{.dtype = dtype});
    const at::Tensor visual_tokens = Wave({2, 9, 24}).to(dtype);
    const QFormerAnalysis analysis = model.Analyze(visual_tokens);
    EXPECT_TRUE(analysis.queries.equal(model.Forward(visual_tokens)));
    EXPECT_EQ(analysis.cross_attention.scalar_type(), at::kFloat);
    EXPECT_EQ(analysis.cross_attention.sizes(), (std::vector<int64_t>{2, analysis.queries.size(1), 9}));
    EXPECT_LT(MaxDifference(analysis.cross_attention.sum(2), at::ones({2, analysis.queries.size(1)})),
              kFormulaTolerance);
  }
}

TEST(QFormerTest, MatchesTheFormulas) {
  for (const int64_t frequency : {1, 2, 3}) {
    Config config = TinyConfig();
    config.qformer.cross_attention_frequency = frequency;
    const RandomCheckpoint checkpoint(config, /*seed=*/4);
    const QFormer model(*checkpoint.Open(), kFloat32);
    const Formulas formulas(config, checkpoint.weights());
    const at::Tensor visual_tokens = Wave({1, 9, 24});
    const at::Tensor queries = model.Forward(visual_tokens);
    EXPECT_LT(MaxDifference(queries[0], formulas.Queries(visual_tokens[0])), kFormulaTolerance) << frequency;
    EXPECT_LT(MaxDifference(model.Project(queries)[0], formulas.Project(queries[0])), kFormulaTolerance) << frequency;
  }
}

TEST(QFormerTest, GivesEachImageOfABatchItsOwnQueries) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/5);
  const QFormer model(*checkpoint.Open(), kFloat32);
  const at::Tensor visual_tokens = Wave({2, 17, 24});
  const at::Tensor both = model.Forward(visual_tokens);
  EXPECT_LT(MaxDifference(both[0], model.Forward(visual_tokens.slice(0, 0, 1))[0]), kFormulaTolerance);
  EXPECT_LT(MaxDifference(both[1], model.Forward(visual_tokens.slice(0, 1, 2))[0]), kFormulaTolerance);
  EXPECT_GT(MaxDifference(both[0], both[1]), 0.01);
}

TEST(QFormerTest, ReadsASingleVisualToken) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/5);
  const QFormer model(*checkpoint.Open(), kFloat32);
  const at::Tensor token = Wave({1, 1, 24});
  const at::Tensor expected = Formulas(checkpoint.config(), checkpoint.weights()).Queries(token[0]);
  EXPECT_LT(MaxDifference(model.Forward(token)[0], expected), kFormulaTolerance);
}

TEST(QFormerTest, StaysInFloat32WhenTheModelIsFloat16) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/6);
  const auto opened = checkpoint.Open();
  const QFormer half(*opened, Placement{.dtype = at::kHalf});
  const at::Tensor visual_tokens = Wave({1, 9, 24}).to(at::kHalf);
  const at::Tensor queries = half.Forward(visual_tokens);
  EXPECT_TRUE(queries.equal(QFormer(*opened, kFloat32).Forward(visual_tokens)));
  EXPECT_EQ(half.Project(queries).scalar_type(), at::kHalf);
  EXPECT_EQ(QFormer(*opened, Placement{.dtype = at::kBFloat16}).Forward(visual_tokens).scalar_type(), at::kBFloat16);
}

// transformers fills the placeholders by masked_scatter, which takes the projection's values in order.
TEST(QFormerTest, DealsOutTheFirstValuesToADecoderOfNarrowerEmbeddings) {
  Config config = TinyConfig();
  config.text.word_embed_proj_dim = 20;
  const RandomCheckpoint checkpoint(config, /*seed=*/7);
  const at::Tensor queries = Wave({2, 6, 16});
  const at::Tensor projected = QFormer(*checkpoint.Open(), kFloat32).Project(queries);
  const Formulas formulas(config, checkpoint.weights());
  ASSERT_EQ(projected.sizes(), (std::vector<int64_t>{2, 6, 20}));
  for (const int64_t image : {0, 1}) {
    const at::Tensor expected = formulas.Project(queries[image]).flatten().slice(0, 0, 6 * 20).view({6, 20});
    EXPECT_LT(MaxDifference(projected[image], expected), kFormulaTolerance);
  }
}

// Rounding errors only: a wrong cast or an overflow would be far outside.
TEST(ReducedPrecisionTest, StaysNearFloat32) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/10);
  const auto opened = checkpoint.Open();
  const at::Tensor pixels = Wave({1, 3, 20, 20});
  const auto logits = [&](at::ScalarType dtype) {
    const Placement placement{.dtype = dtype};
    const QFormer qformer(*opened, placement);
    const OptDecoder decoder(*opened, placement);
    const at::Tensor tokens = VisionModel(*opened, placement).Forward(pixels);
    EXPECT_EQ(tokens.scalar_type(), dtype);
    const at::Tensor prompt =
        at::cat({qformer.Project(qformer.Forward(tokens)), decoder.Embed(std::vector<int64_t>{2, 9})}, 1);
    KvPool pool = decoder.MakeKvPool(/*blocks=*/1, /*block_tokens=*/20);
    const std::vector<int32_t> blocks = {0};
    const DecoderRow row{.embeddings = prompt[0], .past = 0, .blocks = blocks, .wants_logits = true};
    return decoder.Forward({&row, 1}, pool)[0];
  };
  const at::Tensor expected = logits(at::kFloat);
  EXPECT_LT(RelativeDifference(logits(at::kHalf), expected), 0.005);
  EXPECT_LT(RelativeDifference(logits(at::kBFloat16), expected), 0.05);
}

int64_t Parameters(const Config& config, std::string_view prefix) {
  int64_t parameters = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    if (!spec.name.starts_with(prefix)) continue;
    parameters += std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return parameters;
}

TEST(PartSizeTest, CountsEveryTensorOfAPartOnce) {
  const Config config = TinyConfig();
  const RandomCheckpoint checkpoint(config, /*seed=*/11);
  const auto opened = checkpoint.Open();
  const PartSize vision = VisionModel(*opened, Placement{.dtype = at::kHalf}).size();
  EXPECT_EQ(vision.parameters, Parameters(config, "vision_model."));
  EXPECT_EQ(vision.bytes, 2 * vision.parameters);
  const QFormer qformer(*opened, Placement{.dtype = at::kHalf});
  EXPECT_EQ(qformer.qformer_size().parameters, Parameters(config, "qformer.") + Parameters(config, "query_tokens"));
  EXPECT_EQ(qformer.qformer_size().bytes, 4 * qformer.qformer_size().parameters);
  EXPECT_EQ(qformer.projection_size().parameters, Parameters(config, "language_projection."));
  EXPECT_EQ(qformer.projection_size().bytes, 2 * qformer.projection_size().parameters);
  EXPECT_EQ(OptDecoder(*opened, Placement{.dtype = at::kBFloat16}).size().parameters,
            Parameters(config, "language_model."));
}

TEST(PartSizeTest, OfTheFullModelIsThePublishedOne) {
  Config config;
  config.text = {.vocab_size = 50304,
                 .hidden_size = 2560,
                 .word_embed_proj_dim = 2560,
                 .ffn_dim = 10240,
                 .num_hidden_layers = 32,
                 .num_attention_heads = 32};
  EXPECT_EQ(Parameters(config, "vision_model."), 985'952'256);
  EXPECT_EQ(Parameters(config, "qformer."), 105'137'664);
  EXPECT_EQ(Parameters(config, "query_tokens"), 24'576);
  EXPECT_EQ(Parameters(config, "language_projection."), 1'968'640);
  EXPECT_EQ(Parameters(config, "language_model."), 2'651'678'720);
}

}  // namespace
}  // namespace diptych::blip2
