#include "blip2/opt.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/blip2/decoder_fixture.h"
#include "tests/blip2/formulas.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::Filled;
using diptych::testing::Formulas;
using diptych::testing::kBlockTokens;
using diptych::testing::kOptTolerance;
using diptych::testing::LargestDifference;
using diptych::testing::RandomCheckpoint;
using diptych::testing::Reader;
using diptych::testing::TinyConfig;
using diptych::testing::TinyDecoderTest;
using diptych::testing::Tokens;

struct Variant {
  std::string name;
  void (*change)(TextConfig&);
};

class OptDecoderTest : public ::testing::TestWithParam<Variant> {
 protected:
  static Config Configured() {
    Config config = TinyConfig();
    GetParam().change(config.text);
    return config;
  }

  const Config config_ = Configured();
  const RandomCheckpoint checkpoint_{config_, /*seed=*/8};
  const OptDecoder decoder_{*checkpoint_.Open(), Placement{}};
  const Formulas formulas_{config_, checkpoint_.weights()};
};

TEST_P(OptDecoderTest, ReadsInPiecesAsTheFormulasDoAtOnce) {
  const at::Tensor embeddings = Tokens(13, config_.text.word_embed_proj_dim);
  const at::Tensor expected = formulas_.Logits(embeddings);
  for (const int64_t piece : {1, 2, 5, 13}) {
    KvPool pool = Filled(decoder_, 6, std::numeric_limits<float>::quiet_NaN());
    Reader reader{.embeddings = embeddings, .blocks = {5, 0, 3, 1}};
    while (reader.left() > 0) {
      const DecoderRow row = reader.Next(std::min(piece, reader.left()));
      const at::Tensor logits = decoder_.Forward({&row, 1}, pool);
      EXPECT_EQ(logits.scalar_type(), at::kFloat);
      EXPECT_LT(LargestDifference(logits, expected.narrow(0, reader.past - 1, 1)), kOptTolerance)
          << piece << " up to " << reader.past;
    }
  }
}

TEST_P(OptDecoderTest, RunsRowsOfEveryKindInOnePass) {
  const int64_t width = config_.text.word_embed_proj_dim;
  KvPool pool = decoder_.MakeKvPool(20, kBlockTokens);
  std::vector<Reader> readers = {{.embeddings = Tokens(12, width, 1), .blocks = {4, 9, 2}},
                                 {.embeddings = Tokens(15, width, 2), .blocks = {1, 19, 7, 3}},
                                 {.embeddings = Tokens(3, width, 3), .blocks = {0}},
                                 {.embeddings = Tokens(9, width, 4), .blocks = {8, 11, 10}}};
  // Tokens of each sequence in each pass: first pieces, later pieces and single tokens side by side.
  const std::vector<std::vector<int64_t>> passes = {
      {5, 0, 1, 0}, {1, 7, 1, 0}, {1, 4, 0, 8}, {4, 1, 1, 1}, {1, 3, 0, 0}};
  for (const std::vector<int64_t>& tokens : passes) {
    std::vector<DecoderRow> rows;
    std::vector<at::Tensor> expected;
    for (size_t i = 0; i < readers.size(); ++i) {
      if (tokens[i] == 0) continue;
      rows.push_back(readers[i].Next(tokens[i]));
      expected.push_back(formulas_.Logits(readers[i].embeddings.narrow(0, 0, readers[i].past))[-1]);
    }
    EXPECT_LT(LargestDifference(decoder_.Forward(rows, pool), at::stack(expected)), kOptTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants, OptDecoderTest,
    ::testing::Values(Variant{"PreLayerNorm", [](TextConfig&) {}},
                      Variant{"Opt350m",
                              [](TextConfig& text) {
                                text.do_layer_norm_before = false;
                                text.word_embed_proj_dim = 20;
                              }},
                      Variant{"Bare",
                              [](TextConfig& text) {
                                text.enable_bias = false;
                                text.layer_norm_elementwise_affine = false;
                                text.remove_final_layer_norm = true;
                              }},
                      Variant{"NotAffine", [](TextConfig& text) { text.layer_norm_elementwise_affine = false; }},
                      Variant{"UntiedHead", [](TextConfig& text) { text.tie_word_embeddings = false; }},
                      Variant{"OneHead", [](TextConfig& text) { text.num_attention_heads = 1; }}),
    [](const auto& info) { return info.param.name; });

TEST_F(TinyDecoderTest, ReturnsTheLogitsThatAreWantedInTheRowsOrder) {
  const auto pass = [&](const std::vector<bool>& wants) {
    KvPool pool = decoder_.MakeKvPool(6, kBlockTokens);
    std::vector<Reader> readers = {{.embeddings = Tokens(3, 32, 1), .blocks = {0}},
                                   {.embeddings = Tokens(1, 32, 2), .blocks = {1}},
                                   {.embeddings = Tokens(6, 32, 3), .blocks = {4, 2}}};
    std::vector<DecoderRow> rows;
    for (size_t i = 0; i < 3; ++i) rows.push_back(readers[i].Next(readers[i].left(), wants[i]));
    return Forward(rows, pool);
  };
  const at::Tensor all = pass({true, true, true});
  const at::Tensor ends = pass({true, false, true});
  ASSERT_EQ(ends.size(0), 2);
  EXPECT_LT(LargestDifference(ends[0], all[0]), kOptTolerance);
  EXPECT_LT(LargestDifference(ends[1], all[2]), kOptTolerance);
  EXPECT_EQ(pass({false, false, false}).sizes(), (std::vector<int64_t>{0, 52}));
}

TEST_F(TinyDecoderTest, ARowThatIsNotFiniteLeavesTheOthersAsTheyWere) {
  const auto pass = [&](double factor) {
    KvPool pool = decoder_.MakeKvPool(8, kBlockTokens);
    Reader good{.embeddings = Tokens(6, 32, 1), .blocks = {0, 3}};
    Reader other{.embeddings = Tokens(9, 32, 2).mul(factor), .blocks = {1, 2, 4}};
    Forward({good.Next(5), other.Next(8)}, pool);
    return Forward({good.Next(1), other.Next(1)}, pool);
  };
  const at::Tensor poisoned = pass(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(poisoned[0].equal(pass(1)[0]));
  EXPECT_TRUE(poisoned[1].isnan().all().item<bool>());
}

TEST_F(TinyDecoderTest, IdsOutsideTheVocabularyAreRefused) {
  const int64_t vocabulary = checkpoint_.config().text.vocab_size;
  for (const int64_t id : {int64_t{-1}, vocabulary, std::numeric_limits<int64_t>::max()}) {
    const std::vector<int64_t> ids = {0, id};
    EXPECT_THROW(decoder_.Embed(ids), c10::Error) << id;
  }
}

TEST_F(TinyDecoderTest, FillsTheWholeWindowAndNoMore) {
  KvPool pool = decoder_.MakeKvPool(11, kBlockTokens);
  Reader reader{.embeddings = Tokens(41, 32), .blocks = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}};
  EXPECT_TRUE(at::isfinite(Forward({reader.Next(40)}, pool)).all().item<bool>());
  EXPECT_THROW(Forward({reader.Next(1)}, pool), c10::Error);
}

TEST_F(TinyDecoderTest, RefusesRowsThatDoNotFit) {
  KvPool pool = decoder_.MakeKvPool(4, kBlockTokens);
  const auto refused = [&](int64_t tokens, int64_t width, int64_t past, std::vector<int32_t> blocks) {
    const DecoderRow row{.embeddings = Tokens(tokens, width), .past = past, .blocks = blocks};
    EXPECT_THROW(decoder_.Forward({&row, 1}, pool), c10::Error) << tokens << " " << width << " " << past;
  };
  refused(0, 32, 0, {0});
  refused(3, 31, 0, {0});
  refused(1, 32, 4, {0});
  refused(1, 32, -1, {0});
  refused(5, 32, 0, {0});
  refused(1, 32, 0, {4});
  refused(1, 32, 0, {-1});
  EXPECT_THROW(decoder_.Forward({}, pool), c10::Error);
  EXPECT_THROW(decoder_.MakeKvPool(0, 4), c10::Error);
  EXPECT_THROW(decoder_.MakeKvPool(4, 0), c10::Error);
}

TEST_F(TinyDecoderTest, EmbedsIdsByRow) {
  const std::vector<int64_t> ids = {0, 51, 7, 7};
  const at::Tensor table = checkpoint_.weights().at("language_model.model.decoder.embed_tokens.weight");
  const at::Tensor embedded = decoder_.Embed(ids);
  ASSERT_EQ(embedded.sizes(), (std::vector<int64_t>{1, 4, 32}));
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_TRUE(embedded[0][static_cast<int64_t>(i)].equal(table[ids[i]]));
}

TEST_F(TinyDecoderTest, EmbedsIdsThatOnlyTheDeviceKnows) {
  const at::Tensor chosen = at::tensor({9, 51, 0}, at::kLong);
  EXPECT_TRUE(decoder_.Embed(std::vector<int64_t>{7, -2, 0, -1, -3}, chosen)
                  .equal(decoder_.Embed(std::vector<int64_t>{7, 51, 0, 9, 0})));
  EXPECT_THROW(decoder_.Embed(std::vector<int64_t>{-4}, chosen), c10::Error);
}

// Greedy answers of ten sequences, alone and in random mixes in which they start, pause and read their prompts
// piece by piece.
TEST_F(TinyDecoderTest, ASequenceGetsTheSameTokensInEveryMix) {
  constexpr int kSequences = 10;
  constexpr int64_t kTokens = 24;  // six blocks
  const auto prompt_tokens = [](int sequence) { return 2 + sequence; };
  const auto start = [&](int sequence) {
    Reader reader{.embeddings = Tokens(prompt_tokens(sequence), 32, sequence), .blocks = std::vector<int32_t>(6)};
    std::iota(reader.blocks.begin(), reader.blocks.end(), 6 * sequence);
    return reader;
  };
  const auto append = [&](Reader& reader, int64_t id) {
    reader.embeddings = at::cat({reader.embeddings, decoder_.Embed({&id, 1})[0]});
  };
  std::vector<std::vector<int64_t>> alone(kSequences);
  KvPool pool = decoder_.MakeKvPool(6 * kSequences, kBlockTokens);
  for (int i = 0; i < kSequences; ++i) {
    Reader reader = start(i);
    while (reader.past < kTokens) {
      alone[i].push_back(Forward({reader.Next(reader.left())}, pool)[0].argmax().item<int64_t>());
      append(reader, alone[i].back());
    }
  }
  std::mt19937 random(1);
  for (int mix = 0; mix < 20; ++mix) {
    std::vector<Reader> readers;
    for (int i = 0; i < kSequences; ++i) readers.push_back(start(i));
    std::vector<std::vector<int64_t>> tokens(kSequences);
    while (std::any_of(readers.begin(), readers.end(), [](const Reader& r) { return r.past < kTokens; })) {
      std::vector<DecoderRow> rows;
      std::vector<int> wanting;
      for (int i = 0; i < kSequences; ++i) {
        if (readers[i].past >= kTokens || random() % 3 == 0) continue;
        const int64_t piece = 1 + static_cast<int64_t>(random()) % readers[i].left();
        const bool wants = piece == readers[i].left();
        rows.push_back(readers[i].Next(piece, wants));
        if (wants) wanting.push_back(i);
      }
      if (rows.empty()) continue;
      const at::Tensor best = Forward(rows, pool).argmax(1);
      for (size_t n = 0; n < wanting.size(); ++n) {
        tokens[wanting[n]].push_back(best[static_cast<int64_t>(n)].item<int64_t>());
        append(readers[wanting[n]], tokens[wanting[n]].back());
      }
    }
    EXPECT_EQ(tokens, alone) << "mix " << mix;
  }
}

TEST(OptReducedPrecisionTest, StaysNearFloat32) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/10);
  const auto opened = checkpoint.Open();
  const auto logits = [&](at::ScalarType dtype) {
    const OptDecoder decoder(*opened, Placement{.dtype = dtype});
    KvPool pool = decoder.MakeKvPool(8, kBlockTokens);
    Reader first{.embeddings = Tokens(11, 32, 1).to(dtype), .blocks = {0, 1, 2}};
    Reader second{.embeddings = Tokens(6, 32, 2).to(dtype), .blocks = {3, 4}};
    const std::vector<DecoderRow> pieces = {first.Next(6), second.Next(5)};
    decoder.Forward(pieces, pool);
    const std::vector<DecoderRow> mixed = {first.Next(4), second.Next(1)};
    decoder.Forward(mixed, pool);
    const DecoderRow last = first.Next(1);
    return decoder.Forward({&last, 1}, pool);
  };
  const at::Tensor expected = logits(at::kFloat);
  const auto relative = [&](at::ScalarType dtype) {
    return ((logits(dtype) - expected).norm() / expected.norm()).item<double>();
  };
  EXPECT_LT(relative(at::kHalf), 0.005);
  EXPECT_LT(relative(at::kBFloat16), 0.05);
}

// Long enough that the scores are written out in several slices.
TEST(OptDecoderTest, AttentionSumsToOneAndLooksBackOnly) {
  Config config = TinyConfig();
  config.text.max_position_embeddings = 1200;
  const RandomCheckpoint checkpoint(config, /*seed=*/21);
  const OptDecoder decoder(*checkpoint.Open(), Placement{});
  const at::Tensor text = Tokens(1200, config.text.word_embed_proj_dim);
  const at::Tensor all = decoder.AttentionToPrefix(text, /*first=*/0, /*prefix=*/1200);
  EXPECT_LT(LargestDifference(all.sum(1), at::ones({1200})), kOptTolerance);
  EXPECT_EQ(all.triu(1).abs().max().item<float>(), 0);
  const at::Tensor some = decoder.AttentionToPrefix(text, /*first=*/1100, /*prefix=*/7);
  EXPECT_LT(LargestDifference(some, all.slice(0, 1100).slice(1, 0, 7)), kOptTolerance);
  const at::Tensor alone = decoder.AttentionToPrefix(text.slice(0, 0, 900), /*first=*/899, /*prefix=*/7);
  EXPECT_LT(LargestDifference(alone[0], all[899].slice(0, 0, 7)), kOptTolerance);
}

TEST(OptDecoderTest, AttentionInPiecesIsThatOfTheWholeText) {
  for (const bool norm_before : {true, false}) {
    Config config = TinyConfig();
    config.text.do_layer_norm_before = norm_before;
    const RandomCheckpoint checkpoint(config, /*seed=*/21);
    const OptDecoder decoder(*checkpoint.Open(), Placement{});
    const at::Tensor text = Tokens(23, config.text.word_embed_proj_dim);
    const at::Tensor whole = decoder.AttentionToPrefix(text, /*first=*/9, /*prefix=*/7);
    for (const int64_t tokens : {1, 4, 5, 22, 23, 100}) {
      int64_t pauses = 0;
      const Pieces pieces{.tokens = tokens, .go_on = [&] { return ++pauses > 0; }};
      const at::Tensor attention = decoder.AttentionToPrefix(text, /*first=*/9, /*prefix=*/7, pieces);
      EXPECT_LT(LargestDifference(attention, whole), kOptTolerance) << tokens << " tokens at a time";
      EXPECT_EQ(pauses, config.text.num_hidden_layers * ((22 + tokens) / tokens) - 1);
    }
  }
}

TEST(OptDecoderTest, AttentionEndsBetweenTwoPieces) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/21);
  const OptDecoder decoder(*checkpoint.Open(), Placement{});
  const at::Tensor text = Tokens(23, TinyConfig().text.word_embed_proj_dim);
  int pauses = 0;
  const Pieces pieces{.tokens = 5, .go_on = [&] { return ++pauses < 3; }};
  EXPECT_FALSE(decoder.AttentionToPrefix(text, /*first=*/9, /*prefix=*/7, pieces).defined());
  EXPECT_EQ(pauses, 3);
}

TEST(OptDecoderTest, AttentionOutsideTheTextIsRefused) {
  const RandomCheckpoint checkpoint(TinyConfig(), /*seed=*/21);
  const OptDecoder decoder(*checkpoint.Open(), Placement{});
  const at::Tensor text = Tokens(5, TinyConfig().text.word_embed_proj_dim);
  EXPECT_THROW(decoder.AttentionToPrefix(text, /*first=*/5, /*prefix=*/1), c10::Error);
  EXPECT_THROW(decoder.AttentionToPrefix(text, /*first=*/0, /*prefix=*/6), c10::Error);
  EXPECT_THROW(decoder.AttentionToPrefix(text.unsqueeze(0), /*first=*/0, /*prefix=*/1), c10::Error);
  EXPECT_THROW(decoder.AttentionToPrefix(text, /*first=*/0, /*prefix=*/1, {.tokens = 0}), c10::Error);
}

}  // namespace
}  // namespace diptych::blip2
