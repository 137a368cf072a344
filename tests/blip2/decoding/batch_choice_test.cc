// The choice of tokens in tensor form against TokenSelector, row by row.
#include "blip2/decoding/batch_choice.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "blip2/device/transfer.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kVocabulary = 300;
const std::vector<int64_t> kEndings = {2, 7};

// One sequence, and the same one again for the other way to choose.
struct Row {
  GenerationOptions options;
  std::vector<int64_t> context;
  int64_t generated = 0;
  at::Tensor logits;  // [1, V]
};

class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed) {}
  int64_t Below(int64_t end) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(end)); }
  double Unit() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  template <typename T>
  T OneOf(const std::vector<T>& values) {
    return values[static_cast<size_t>(Below(static_cast<int64_t>(values.size())))];
  }

 private:
  std::mt19937_64 random_;
};

GenerationOptions SomeOptions(Draws& draws) {
  GenerationOptions options = {.max_new_tokens = 100,
                               .min_new_tokens = draws.OneOf<int64_t>({0, 0, 100}),
                               .temperature = draws.OneOf<double>({0, 0, 1e-300, 0.3, 0.7, 1, 100}),
                               .top_k = draws.OneOf<int64_t>({0, 1, 3, 50, 299, 300, 1'000'000}),
                               .top_p = draws.OneOf<double>({1, 1, 1e-9, 0.5, 0.9, 0.999}),
                               .repetition_penalty = draws.OneOf<double>({1, 1, 1e-300, 0.8, 1.3, 100}),
                               .seed = static_cast<uint64_t>(draws.Below(1'000'000)),
                               .logprobs = draws.OneOf<int64_t>({0, 0, 1, 5, 20}),
                               .presence_penalty = draws.OneOf<double>({0, 0, -2, 0.7}),
                               .frequency_penalty = draws.OneOf<double>({0, 0, -0.3, 1.1}),
                               .min_p = draws.OneOf<double>({0, 0, 0.05, 1})};
  for (int64_t bias = draws.OneOf<int64_t>({0, 0, 1, 40}); bias > 0; --bias) {
    options.logit_bias[draws.Below(kVocabulary)] = draws.OneOf<double>({-100, -1.7, 0.3, 100});
  }
  return options;
}

// Rounded as a model's in half precision would be, so that many scores are equal.
at::Tensor SomeLogits(Draws& draws) {
  std::vector<float> logits;
  for (int64_t i = 0; i < kVocabulary; ++i) logits.push_back(static_cast<float>(12 * draws.Unit() - 6));
  const auto type = draws.OneOf<at::ScalarType>({at::kFloat, at::kBFloat16, at::kHalf});
  return at::tensor(logits).to(type).to(at::kFloat).unsqueeze(0);
}

Row SomeRow(Draws& draws) {
  Row row = {.options = SomeOptions(draws), .context = {-1}, .generated = draws.Below(30), .logits = SomeLogits(draws)};
  for (int64_t i = draws.Below(20) + row.generated; i > 0; --i) row.context.push_back(draws.Below(40));
  return row;
}

TokenSelector SelectorOf(const Row& row) {
  return {row.options, kEndings};
}

std::vector<RowChoice> ChoicesOf(const std::vector<Row>& rows) {
  std::vector<RowChoice> choices;
  for (const Row& row : rows) {
    choices.push_back({.logits = row.logits,
                       .options = &row.options,
                       .edits = ScoreEdits(row.options, kEndings, row.context, row.generated, row.logits.size(1)),
                       .draw = SelectorOf(row).NextDraw()});
  }
  return choices;
}

std::vector<absl::StatusOr<ChosenToken>> ChooseTogether(const std::vector<Row>& rows) {
  return ChooseTokens(ChoicesOf(rows));
}

absl::StatusOr<ChosenToken> ChooseAlone(const Row& row) {
  return SelectorOf(row).Choose(row.logits[0], row.context, row.generated);
}

void ExpectSame(const absl::StatusOr<ChosenToken>& together, const absl::StatusOr<ChosenToken>& alone) {
  ASSERT_EQ(together.status(), alone.status());
  if (!alone.ok()) return;
  EXPECT_EQ(together->id, alone->id);
  EXPECT_FLOAT_EQ(together->logprob, alone->logprob);
  ASSERT_EQ(together->top.size(), alone->top.size());
  for (size_t i = 0; i < alone->top.size(); ++i) {
    EXPECT_EQ(together->top[i].id, alone->top[i].id) << "rank " << i;
    EXPECT_FLOAT_EQ(together->top[i].logprob, alone->top[i].logprob) << "rank " << i;
  }
}

TEST(BatchChoiceTest, AnyMixOfOptionsChoosesWhatEachRowWouldAlone) {
  Draws draws(20);
  for (int batch = 0; batch < 100; ++batch) {
    std::vector<Row> rows;
    for (int64_t i = draws.Below(16); i >= 0; --i) rows.push_back(SomeRow(draws));
    const auto together = ChooseTogether(rows);
    ASSERT_EQ(together.size(), rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE("batch " + std::to_string(batch) + ", row " + std::to_string(i));
      ExpectSame(together[i], ChooseAlone(rows[i]));
    }
  }
}

TEST(BatchChoiceTest, EveryDrawOfADistributionFindsTheSameToken) {
  Draws draws(21);
  Row row = SomeRow(draws);
  row.options = {.temperature = 1.5, .top_k = 40, .top_p = 0.95, .seed = 3};
  TokenSelector selector = SelectorOf(row);
  for (int i = 0; i < 1000; ++i) {
    const RowChoice choice = {.logits = row.logits, .options = &row.options, .draw = selector.NextDraw()};
    ExpectSame(ChooseTokens(std::span(&choice, 1))[0], selector.Choose(row.logits[0], row.context, row.generated));
  }
}

TEST(BatchChoiceTest, TheLargestDrawTakesATokenThatIsPossible) {
  const GenerationOptions options = {.temperature = 1, .top_k = 2};
  const at::Tensor logits = at::tensor({1.0F, 5.0F, 3.0F, 0.5F}).unsqueeze(0);
  const auto drawn = [&](double draw) {
    const RowChoice choice = {.logits = logits, .options = &options, .draw = draw};
    return ChooseTokens(std::span(&choice, 1))[0]->id;
  };
  EXPECT_EQ(drawn(0), 1);
  EXPECT_EQ(drawn(1 - 0x1p-53), 2);
  EXPECT_EQ(drawn(1), 2) << "as if rounding had left none";
}

TEST(BatchChoiceTest, ARowWithoutATokenEndsAlone) {
  Draws draws(22);
  std::vector<Row> rows;
  for (int i = 0; i < 4; ++i) rows.push_back(SomeRow(draws));
  rows[1].logits[0][5] = std::numeric_limits<float>::quiet_NaN();
  rows[1].options = {.temperature = 1, .logprobs = 2};
  rows[2].logits[0][5] = -std::numeric_limits<float>::infinity();
  const auto together = ChooseTogether(rows);
  for (size_t i = 0; i < rows.size(); ++i) ExpectSame(together[i], ChooseAlone(rows[i]));
  EXPECT_EQ(together[1].status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(together[0].ok() && together[3].ok());
  const at::Tensor ids = BeginChoice(ChoicesOf(rows)).ids;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto id = ids[static_cast<int64_t>(i)].item<int64_t>();
    EXPECT_TRUE(id >= 0 && id < rows[i].logits.size(1)) << "the next step looks it up before the error is known";
    if (together[i].ok()) {
      EXPECT_EQ(id, together[i]->id);
    }
  }

  const GenerationOptions forbidding = {.min_new_tokens = 3, .temperature = 1};
  const std::vector<int64_t> all = {0, 1, 2};
  const RowChoice none = {
      .logits = at::zeros({1, 3}), .options = &forbidding, .edits = ScoreEdits(forbidding, all, {}, 0, 3)};
  EXPECT_EQ(ChooseTokens(std::span(&none, 1))[0].status(), absl::InternalError("no token may follow"));
}

TEST(BatchChoiceTest, LogitsStayAsTheyAre) {
  Draws draws(23);
  const std::vector<Row> rows = {SomeRow(draws)};
  const at::Tensor before = rows[0].logits.clone();
  ChooseTogether(rows);
  EXPECT_TRUE(rows[0].logits.equal(before));
}

}  // namespace
}  // namespace diptych::blip2
