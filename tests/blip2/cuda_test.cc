// The model on a card against the model on the CPU. Skipped where there is no card.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "blip2/opt.h"
#include "blip2/qformer.h"
#include "blip2/transfer.h"
#include "blip2/vision_model.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;

constexpr double kTolerance = 1e-4;  // float32 against float32, on values of order one
constexpr int64_t kPoolBlockTokens = 4;

// In (−1, 1).
at::Tensor Wave(std::vector<int64_t> shape) {
  const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return at::sin(at::arange(count, at::kDouble).square().mul_(0.7)).to(at::kFloat).view(shape);
}

void ExpectClose(const at::Tensor& on_card, const at::Tensor& expected) {
  ASSERT_EQ(on_card.sizes(), expected.sizes());
  EXPECT_LT((Download(on_card).to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>(), kTolerance);
}

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto placement = ParsePlacement("cuda", "float32");
    if (!placement.ok()) GTEST_SKIP() << placement.status().message();
    card_ = *placement;
  }

  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/12};
  const std::unique_ptr<Checkpoint> open_ = checkpoint_.Open();
  Placement card_;
};

TEST_F(CudaTest, NumbersComeBackAsTheyWent) {
  const at::Tensor numbers = Wave({3, 1000});
  const at::Tensor uploaded = Upload(numbers, card_.device);
  EXPECT_TRUE(uploaded.is_cuda());
  EXPECT_TRUE(Download(uploaded).equal(numbers));
  EXPECT_EQ(Download(uploaded.narrow(0, 0, 0)).size(0), 0);
}

TEST_F(CudaTest, ImagesAreEncodedAsOnTheCpu) {
  const VisionModel card(*open_, card_), host(*open_, Placement{});
  for (const int merging : {0, 1}) {
    const at::Tensor pixels = Wave({3, 3, 20, 20});
    ExpectClose(card.Forward(pixels, merging), host.Forward(pixels, merging));
  }
  const at::Tensor pixels = Wave({1, 3, 35, 35});
  ExpectClose(card.Analyze(pixels).class_attention, host.Analyze(pixels).class_attention);
}

TEST_F(CudaTest, ImagesAreProjectedAsOnTheCpu) {
  const QFormer card(*open_, card_), host(*open_, Placement{});
  const at::Tensor tokens = Wave({1, 17, checkpoint_.config().vision.hidden_size});
  ExpectClose(card.Project(card.Forward(tokens)), host.Project(host.Forward(tokens)));
}

// Prompts, the rest of one, and decode steps of several lengths in one pass.
std::vector<at::Tensor> RunPasses(const OptDecoder& decoder, const Config& config) {
  const int64_t width = config.text.word_embed_proj_dim;
  const std::vector<int32_t> first = {0, 1, 2}, second = {3, 4, 5}, copied = {6, 4, 5};
  KvPool pool = decoder.MakeKvPool(8, kPoolBlockTokens);
  const auto row = [&](int64_t tokens, int64_t past, const std::vector<int32_t>& blocks) {
    const at::Tensor embeddings =
        Upload(Wave({tokens + past, width}).narrow(0, past, tokens).contiguous(), decoder.placement().device);
    return DecoderRow{.embeddings = embeddings, .past = past, .blocks = blocks, .wants_logits = true};
  };
  std::vector<at::Tensor> logits;
  const auto pass = [&](const std::vector<DecoderRow>& rows) { logits.push_back(decoder.Forward(rows, pool)); };
  pass({row(6, 0, first), row(3, 0, second)});
  pass({row(3, 6, first), row(1, 3, second)});
  const std::vector<int32_t> from = {3}, to = {6};
  decoder.CopyKvBlocks(pool, from, to);
  pass({row(1, 9, first), row(1, 4, second)});
  pass({row(1, 4, copied)});
  return logits;
}

TEST_F(CudaTest, TokensAreScoredAsOnTheCpu) {
  const std::vector<at::Tensor> card = RunPasses(OptDecoder(*open_, card_), checkpoint_.config());
  const std::vector<at::Tensor> host = RunPasses(OptDecoder(*open_, Placement{}), checkpoint_.config());
  for (size_t i = 0; i < host.size(); ++i) ExpectClose(card[i], host[i]);
}

}  // namespace
}  // namespace diptych::blip2
