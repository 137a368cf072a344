#include "blip2/decode_graphs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "blip2/opt.h"
#include "tests/testing/fake_card.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::FakeCard;
using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;

constexpr double kLastBits = 1e-5;  // of float32, on values of order one
constexpr int64_t kTokensOfBlock = 4;
constexpr int kSequences = 20;

// Sequences of different lengths, whose tokens are numbers of our own.
class DecodeGraphsTest : public ::testing::Test {
 protected:
  KvPool Pool(bool recorded) {
    const c10::InferenceMode inference;
    KvPool pool = decoder_.MakeKvPool(kSequences * 3, kTokensOfBlock);
    pool.all.fill_(0.5);
    if (!recorded) return pool;
    EXPECT_TRUE(decoder_.RecordSteps(card_.Recorder(), card_.OnFailure(), pool).ok());
    return pool;
  }

  at::Tensor Embedding(int64_t sequence, int64_t step, int64_t tokens = 1) const {
    const int64_t width = checkpoint_.config().text.word_embed_proj_dim;
    const at::Tensor places = at::arange(tokens * width, at::kDouble).add_(1000 * sequence + 31 * step);
    return at::sin(places.square().mul_(0.7)).to(at::kFloat).view({tokens, width});
  }

  // Token `step` of sequences [first, first + count), whose first has read `first` tokens more than that.
  at::Tensor Step(KvPool& pool, int count, int step, int first = 0) const {
    std::vector<std::vector<int32_t>> tables;
    std::vector<DecoderRow> rows;
    tables.reserve(count);
    for (int32_t i = first; i < first + count; ++i) {
      tables.push_back({3 * i + 2, 3 * i, 3 * i + 1});
      rows.push_back(
          {.embeddings = Embedding(i, step), .past = i % 5 + step, .blocks = tables.back(), .wants_logits = true});
    }
    return decoder_.Forward(rows, pool);
  }

  static double Off(const at::Tensor& a, const at::Tensor& b) {
    EXPECT_EQ(a.sizes(), b.sizes());
    return (a - b).abs().max().item<double>();
  }

  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/12};
  const OptDecoder decoder_{*checkpoint_.Open(), Placement{}};
  FakeCard card_;
};

TEST(GraphRowsTest, AStepIsRunAsTheNextLargerRecordedOne) {
  EXPECT_EQ(GraphRows(0), std::nullopt);
  for (const auto& [rows, size] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {2, 2}, {3, 4}, {5, 8}, {9, 16}, {16, 16}, {17, 32}, {33, 48}, {65, 80}, {128, 128}}) {
    EXPECT_EQ(GraphRows(rows), size) << rows;
  }
  EXPECT_EQ(GraphRows(129), std::nullopt);
}

TEST_F(DecodeGraphsTest, RecordedStepsScoreAndStoreAsOthersDo) {
  KvPool plain = Pool(/*recorded=*/false), recorded = Pool(/*recorded=*/true);
  int step = 0;
  for (const int count : {1, 3, 4, 20, 17, 3, 1}) {
    EXPECT_LT(Off(Step(recorded, count, step), Step(plain, count, step)), kLastBits) << "step " << step;
    ++step;
  }
  EXPECT_LT(Off(recorded.all, plain.all), kLastBits);
  EXPECT_EQ(card_.recorded, 3) << "of 1, 4 and 32 rows";
  EXPECT_EQ(card_.replayed, 7);
  EXPECT_TRUE(card_.failures.empty());
}

TEST_F(DecodeGraphsTest, OtherSequencesTakeTheSameStep) {
  KvPool plain = Pool(false), recorded = Pool(true);
  for (const int first : {0, 7, 3}) EXPECT_LT(Off(Step(recorded, 3, 0, first), Step(plain, 3, 0, first)), kLastBits);
  EXPECT_EQ(card_.recorded, 1);
}

// A card writes each step's scores where it wrote the last one's.
TEST_F(DecodeGraphsTest, ScoresStayWhenTheNextStepComes) {
  const c10::InferenceMode inference;
  const at::Tensor place = at::zeros({2, 3});
  const auto layers = [place](const at::Tensor& embeddings, const PagedAttention&) { return place.copy_(embeddings); };
  DecodeGraphs graphs(card_.Recorder(), layers, {.block_tokens = kTokensOfBlock, .table_width = 1});
  const std::vector<int32_t> blocks = {0};
  const std::vector<PagedRow> rows(2, {.past = 0, .tokens = 1, .blocks = blocks});
  const at::Tensor first = *graphs.Run(at::full({2, 3}, 1.0), rows);
  const at::Tensor second = *graphs.Run(at::full({2, 3}, 2.0), rows);
  EXPECT_TRUE(place.eq(2).all().item<bool>());
  EXPECT_TRUE(first.eq(1).all().item<bool>());
  EXPECT_TRUE(second.eq(2).all().item<bool>());
  EXPECT_EQ(card_.replayed, 2);
}

TEST_F(DecodeGraphsTest, PromptsAndStepsWithoutScoresAreNotRecorded) {
  KvPool recorded = Pool(true);
  const std::vector<int32_t> table = {0, 1, 2}, other = {3, 4, 5};
  const std::vector<DecoderRow> prompt = {{.embeddings = Embedding(0, 0, 5), .blocks = table, .wants_logits = true},
                                          {.embeddings = Embedding(1, 0), .blocks = other, .wants_logits = true}};
  const std::vector<DecoderRow> silent = {{.embeddings = Embedding(0, 5), .past = 5, .blocks = table}};
  decoder_.Forward(prompt, recorded);
  decoder_.Forward(silent, recorded);
  EXPECT_EQ(card_.recorded, 0);
}

TEST_F(DecodeGraphsTest, AStepThatCannotBeRecordedRunsAsBeforeAndSaysSoOnce) {
  KvPool plain = Pool(false), recorded = Pool(true);
  card_.refuses_to_record = true;
  for (int step = 0; step < 3; ++step) {
    EXPECT_LT(Off(Step(recorded, 3, step), Step(plain, 3, step)), kLastBits);
    card_.refuses_to_record = false;  // it is not asked again
  }
  EXPECT_EQ(card_.failures, std::vector<std::string>{"operation not permitted when stream is capturing"});
  EXPECT_EQ(card_.recorded, 0);
}

TEST_F(DecodeGraphsTest, ARecordedStepThatFailsIsRunAsBefore) {
  KvPool plain = Pool(false), recorded = Pool(true);
  EXPECT_LT(Off(Step(recorded, 3, 0), Step(plain, 3, 0)), kLastBits);
  card_.refuses_to_replay = true;
  for (int step = 1; step < 3; ++step) EXPECT_LT(Off(Step(recorded, 3, step), Step(plain, 3, step)), kLastBits);
  EXPECT_EQ(card_.failures, std::vector<std::string>{"no such graph"});
}

TEST(StepRecorderTest, WithoutCudaItSaysThatThereAreNoGraphs) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a card";
  EXPECT_EQ(MakeCudaRecorder(c10::Device(at::kCUDA, 0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace diptych::blip2
