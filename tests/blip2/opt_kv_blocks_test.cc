// Blocks of keys and values: left behind, shared, copied and rounded.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "blip2/opt.h"
#include "tests/blip2/decoder_fixture.h"
#include "tests/blip2/formulas.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::Filled;
using diptych::testing::Formulas;
using diptych::testing::kBlockTokens;
using diptych::testing::kOptTolerance;
using diptych::testing::LargestDifference;
using diptych::testing::Reader;
using diptych::testing::TinyDecoderTest;
using diptych::testing::Tokens;

TEST_F(TinyDecoderTest, BlocksThatWereUsedBeforeChangeNothing) {
  for (const float left_behind : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    KvPool clean = Filled(decoder_, 8, 0);
    KvPool used = Filled(decoder_, 8, left_behind);
    Reader in_clean{.embeddings = Tokens(9, 32, 1), .blocks = {6, 1, 2}};
    Reader in_used = in_clean;
    Reader short_in_clean{.embeddings = Tokens(2, 32, 2), .blocks = {5}};
    Reader short_in_used = short_in_clean;
    Forward({in_clean.Next(3)}, clean);
    Forward({in_used.Next(3)}, used);
    EXPECT_TRUE(Forward({in_clean.Next(4), short_in_clean.Next(1)}, clean)
                    .equal(Forward({in_used.Next(4), short_in_used.Next(1)}, used)));
    EXPECT_TRUE(Forward({in_clean.Next(1), short_in_clean.Next(1)}, clean)
                    .equal(Forward({in_used.Next(1), short_in_used.Next(1)}, used)));
  }
}

TEST_F(TinyDecoderTest, RowsShareThePrefixThatBothBlockTablesName) {
  KvPool pool = decoder_.MakeKvPool(8, kBlockTokens);
  Reader first{.embeddings = Tokens(9, 32, 1), .blocks = {0, 1, 2}};
  Forward({first.Next(8)}, pool);
  // The same eight tokens, then another ninth.
  Reader second{.embeddings = at::cat({Tokens(8, 32, 1), Tokens(1, 32, 5)}), .blocks = {0, 1, 3}, .past = 8};
  const at::Tensor logits = Forward({first.Next(1), second.Next(1)}, pool);
  const Formulas formulas(checkpoint_.config(), checkpoint_.weights());
  EXPECT_LT(LargestDifference(logits[0], formulas.Logits(first.embeddings)[-1]), kOptTolerance);
  EXPECT_LT(LargestDifference(logits[1], formulas.Logits(second.embeddings)[-1]), kOptTolerance);
}

TEST_F(TinyDecoderTest, ACopiedBlockGoesItsOwnWay) {
  KvPool pool = decoder_.MakeKvPool(8, kBlockTokens);
  Reader first{.embeddings = Tokens(8, 32, 1), .blocks = {0, 1}};
  Forward({first.Next(6)}, pool);
  Copy(pool, {{1, 5}});
  Reader second{.embeddings = at::cat({Tokens(6, 32, 1), Tokens(2, 32, 5)}), .blocks = {0, 5}, .past = 6};
  Forward({first.Next(1), second.Next(1)}, pool);
  const at::Tensor logits = Forward({first.Next(1), second.Next(1)}, pool);
  const Formulas formulas(checkpoint_.config(), checkpoint_.weights());
  EXPECT_LT(LargestDifference(logits[0], formulas.Logits(first.embeddings)[-1]), kOptTolerance);
  EXPECT_LT(LargestDifference(logits[1], formulas.Logits(second.embeddings)[-1]), kOptTolerance);
  EXPECT_THROW(Copy(pool, {{0, 8}}), c10::Error);
  EXPECT_THROW(Copy(pool, {{-1, 0}}), c10::Error);
}

TEST_F(TinyDecoderTest, RoundedKeysAndValuesAreNearlyTheFormulas) {
  const OptDecoder rounded(*checkpoint_.Open(), {.rounded_kv = true});
  KvPool pool = rounded.MakeKvPool(8, kBlockTokens);
  EXPECT_EQ(8 * rounded.KvBlockBytes(kBlockTokens), static_cast<int64_t>(pool.all.nbytes()));
  Reader reader{.embeddings = Tokens(9, 32, 1), .blocks = {6, 1, 2}};
  rounded.Forward({{reader.Next(3)}}, pool);
  rounded.Forward({{reader.Next(5)}}, pool);
  rounded.CopyKvBlocks(pool, std::vector<int32_t>{1}, std::vector<int32_t>{4});
  reader.blocks[1] = 4;
  const at::Tensor logits = rounded.Forward({{reader.Next(1)}}, pool)[0];
  const at::Tensor expected = Formulas(checkpoint_.config(), checkpoint_.weights()).Logits(reader.embeddings)[-1];
  const double off_by = ((logits - expected).norm() / expected.norm()).item<double>();
  EXPECT_LT(off_by, 0.01);
  EXPECT_GT(off_by, 1e-6);
}

TEST_F(TinyDecoderTest, ASequenceWithRoundedKeysAndValuesHasTheSameBitsInEveryBatch) {
  const OptDecoder rounded(*checkpoint_.Open(), {.rounded_kv = true});
  KvPool pool = rounded.MakeKvPool(8, kBlockTokens);
  const Reader begun{.embeddings = Tokens(9, 32, 1), .blocks = {6, 1, 2}};
  const auto last_logits = [&](Reader reader, Reader other) {
    rounded.Forward({{reader.Next(8)}}, pool);
    const std::vector<DecoderRow> alone = {reader.Next(1)}, beside = {other.Next(5), alone[0]};
    return std::pair(rounded.Forward(alone, pool)[0], rounded.Forward(beside, pool)[1]);
  };
  const auto [alone, beside] = last_logits(begun, {.embeddings = Tokens(6, 32, 2), .blocks = {0, 3}});
  EXPECT_LT(LargestDifference(alone, beside), kOptTolerance);
}

TEST_F(TinyDecoderTest, CopiesOfBlocksAreAsIfOneFollowedTheOther) {
  const std::vector<std::pair<int32_t, int32_t>> copies = {{0, 1}, {1, 2}, {3, 1}, {2, 3}, {5, 5}};
  KvPool pool = decoder_.MakeKvPool(8, kBlockTokens);
  std::vector<double> expected;
  const c10::InferenceMode inference;
  for (int64_t block = 0; block < 8; ++block) {
    for (const auto* side : {&pool.keys, &pool.values}) {
      for (const at::Tensor& layer : *side) layer[block].fill_(block);
    }
    expected.push_back(static_cast<double>(block));
  }
  for (const auto& [from, to] : copies) expected[to] = expected[from];
  Copy(pool, copies);
  for (int64_t block = 0; block < 8; ++block) {
    for (const auto* side : {&pool.keys, &pool.values}) {
      for (const at::Tensor& layer : *side) {
        EXPECT_TRUE(layer[block].eq(expected[block]).all().item<bool>()) << block;
      }
    }
  }
}

TEST_F(TinyDecoderTest, TellsTheBytesOfABlock) {
  const KvPool pool = decoder_.MakeKvPool(3, 16);
  size_t bytes = 0;
  for (const auto* side : {&pool.keys, &pool.values}) {
    for (const at::Tensor& layer : *side) bytes += layer.nbytes();
  }
  EXPECT_EQ(3 * decoder_.KvBlockBytes(16), static_cast<int64_t>(bytes));
}

}  // namespace
}  // namespace diptych::blip2
