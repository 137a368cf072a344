#include "blip2/token_merging.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/safetensors.h"
#include "blip2/vision_model.h"
#include "tests/testing/paths.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

at::Tensor GoldenTensor(const std::string& file, const std::string& name) {
  const auto opened = SafetensorsFile::Open(testing::RepositoryPath("tests/goldens/" + file));
  EXPECT_TRUE(opened.ok()) << opened.status();
  const TensorEntry& entry = (*opened)->tensors().at(name);
  at::Tensor tensor = at::empty(entry.shape, entry.dtype);
  std::memcpy(tensor.data_ptr(), entry.data.data(), entry.data.size());
  return tensor;
}

// The tokens' numbers and keys are `values`, one number a token: equal ones are alike.
MergedTokens Merge(const std::vector<double>& angles, int64_t count, const at::Tensor& sizes = {}) {
  at::Tensor keys = at::empty({1, static_cast<int64_t>(angles.size()), 2});
  for (size_t i = 0; i < angles.size(); ++i) {
    keys[0][i][0] = std::cos(angles[i]);
    keys[0][i][1] = std::sin(angles[i]);
  }
  const at::Tensor tokens = at::arange(static_cast<int64_t>(angles.size()), at::kFloat).view({1, -1, 1});
  return MergeTokens({.tokens = tokens, .sizes = sizes}, keys, count);
}

std::vector<float> Numbers(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.flatten().contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

TEST(TokenMergingTest, CountsWhatEachLayerMerges) {
  EXPECT_EQ(MergedPatches(256, 0), 0);
  EXPECT_EQ(MergedPatches(256, 100), 25);
  EXPECT_EQ(MergedPatches(9, 100), 0);
  EXPECT_EQ(MergedPatches(10, 300), 3);
  EXPECT_EQ(PatchesLeft(64, 4, 0), 64);
  EXPECT_EQ(PatchesLeft(64, 4, 100), 64 - 6 - 5 - 5 - 4);
}

TEST(TokenMergingTest, NeverMergesMoreThanCanBeMatched) {
  for (int64_t patches = 1; patches <= 400; ++patches) {
    for (const int merging : {1, 100, 333, 499, kMaxMerging}) {
      EXPECT_LE(MergedPatches(patches, merging), patches / 2);
      EXPECT_GE(PatchesLeft(patches, 50, merging), 1);
    }
  }
}

TEST(TokenMergingTest, MergesTheMostSimilarPairsIntoTheirMean) {
  // Even tokens: the class token, 2 and 4. Token 4 is like 3, token 2 less like 1.
  const MergedTokens one = Merge({0.0, 1.0, 1.3, 2.0, 2.1}, 1);
  EXPECT_EQ(Numbers(one.tokens), (std::vector<float>{0, 2, 1, 3.5}));
  EXPECT_EQ(Numbers(one.sizes), (std::vector<float>{1, 1, 1, 2}));
  const MergedTokens two = Merge({0.0, 1.0, 1.3, 2.0, 2.1}, 2);
  EXPECT_EQ(Numbers(two.tokens), (std::vector<float>{0, 1.5, 3.5}));
}

TEST(TokenMergingTest, SeveralTokensMayGoIntoOne) {
  const MergedTokens merged = Merge({0.0, 1.0, 2.0, 2.0, 2.0}, 2);
  EXPECT_EQ(Numbers(merged.tokens), (std::vector<float>{0, 1, 3}));
  EXPECT_EQ(Numbers(merged.sizes), (std::vector<float>{1, 1, 3}));
}

TEST(TokenMergingTest, WeighsTokensByTheirSizes) {
  const at::Tensor sizes = at::tensor({1.0f, 1.0f, 1.0f, 1.0f, 3.0f}).view({1, 5, 1});
  const MergedTokens merged = Merge({0.0, 1.0, 1.3, 2.0, 2.1}, 1, sizes);
  EXPECT_EQ(Numbers(merged.tokens), (std::vector<float>{0, 2, 1, 3.75}));
  EXPECT_EQ(Numbers(merged.sizes), (std::vector<float>{1, 1, 1, 4}));
}

TEST(TokenMergingTest, TheClassTokenStaysAsItIsAndFirst) {
  // It is the most similar of all to token 1.
  const MergedTokens merged = Merge({1.0, 1.0, 1.9, 2.5, 2.9}, 2);
  EXPECT_EQ(Numbers(merged.tokens)[0], 0.0f);
  EXPECT_EQ(Numbers(merged.sizes)[0], 1.0f);
  EXPECT_EQ(merged.tokens.size(1), 3);
}

TEST(TokenMergingTest, KeepsTheSumOfTheSizesAndOfWhatTheyWeigh) {
  at::manual_seed(3);
  const at::Tensor tokens = at::randn({3, 18, 5}), keys = at::randn({3, 18, 4});
  MergedTokens merged{.tokens = tokens, .sizes = {}};
  merged = MergeTokens(merged, keys, 6);
  merged = MergeTokens(merged, at::randn({3, 12, 4}), 4);
  EXPECT_EQ(merged.tokens.sizes(), (std::vector<int64_t>{3, 8, 5}));
  EXPECT_TRUE(merged.sizes.sum(1).equal(at::full({3, 1}, 18.0f)));
  EXPECT_TRUE(at::allclose((merged.tokens * merged.sizes).sum(1), tokens.sum(1), 1e-5, 1e-5));
}

TEST(TokenMergingTest, ImagesOfABatchDoNotTouchEachOther) {
  at::manual_seed(4);
  const at::Tensor tokens = at::randn({4, 18, 5}), keys = at::randn({4, 18, 4});
  const MergedTokens together = MergeTokens({.tokens = tokens, .sizes = {}}, keys, 5);
  for (int64_t i = 0; i < 4; ++i) {
    const MergedTokens alone =
        MergeTokens({.tokens = tokens.slice(0, i, i + 1), .sizes = {}}, keys.slice(0, i, i + 1), 5);
    EXPECT_TRUE(at::allclose(alone.tokens[0], together.tokens[i], 1e-6, 1e-6));
    EXPECT_TRUE(alone.sizes[0].equal(together.sizes[i]));
  }
}

TEST(TokenMergingTest, KeysThatAreZeroAreNoFault) {
  const MergedTokens merged = MergeTokens({.tokens = at::ones({1, 9, 2}), .sizes = {}}, at::zeros({1, 9, 3}), 4);
  EXPECT_TRUE(at::isfinite(merged.tokens).all().item<bool>());
}

class MergingVisionModelTest : public ::testing::Test {
 protected:
  const testing::RandomCheckpoint checkpoint_{testing::TinyConfig(), /*seed=*/12};
  const std::unique_ptr<Checkpoint> opened_ = checkpoint_.Open();
  const VisionModel model_{*opened_, {}};
  const at::Tensor pixels_ = at::sin(at::arange(2 * 3 * 40 * 40, at::kFloat) * 0.37f).view({2, 3, 40, 40});
};

TEST_F(MergingVisionModelTest, NoMergingIsBitEqualToThePlainModel) {
  EXPECT_TRUE(model_.Forward(pixels_, 0).equal(model_.Forward(pixels_)));
  // Too few tokens for a whole one to be merged.
  EXPECT_TRUE(model_.Forward(pixels_, 1).equal(model_.Forward(pixels_)));
}

TEST_F(MergingVisionModelTest, GivesAsManyTokensAsTheArithmeticSays) {
  const int64_t side = 40 / checkpoint_.config().vision.patch_size;
  for (const int merging : {20, 100, 250, 500}) {
    const int64_t left = PatchesLeft(side * side, checkpoint_.config().vision.num_hidden_layers, merging);
    EXPECT_EQ(model_.Forward(pixels_, merging).size(1), left + 1) << merging;
  }
}

TEST_F(MergingVisionModelTest, RefusesASharePastHalf) {
  EXPECT_THROW(model_.Forward(pixels_, 501), c10::Error);
  EXPECT_THROW(model_.Forward(pixels_, -1), c10::Error);
}

TEST_F(MergingVisionModelTest, WorksInReducedPrecision) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const at::Tensor tokens = VisionModel(*opened_, Placement{.dtype = dtype}).Forward(pixels_, 250);
    EXPECT_EQ(tokens.scalar_type(), dtype);
    EXPECT_TRUE(at::isfinite(tokens).all().item<bool>());
  }
}

// tools/make_merging_goldens.py computes them with numpy in float64, token by token.
TEST(MergingGoldenTest, MatchesTheIndependentReference) {
  const auto checkpoint = Checkpoint::Open(testing::RepositoryPath("tests/goldens/small_patches/model"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const VisionModel model(**checkpoint, {});
  const at::Tensor pixels = GoldenTensor("small_patches/golden.safetensors", "caption.pixels");
  for (const int merging : {0, 100, 250, 500}) {
    const at::Tensor expected = GoldenTensor("token_merging/merged.safetensors", std::to_string(merging) + ".vision");
    const at::Tensor tokens = model.Forward(pixels, merging);
    ASSERT_EQ(tokens.sizes(), expected.sizes()) << merging;
    EXPECT_LT((tokens - expected).abs().max().item<double>(), 1e-4 * expected.abs().max().item<double>()) << merging;
  }
}

}  // namespace
}  // namespace diptych::blip2
