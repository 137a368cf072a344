#include "blip2/decoding/beam_search.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace diptych::blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kEnd = 0;  // ends a text
constexpr double kMinusMuch = -20;

// Logits of one row from probabilities.
std::vector<double> Probabilities(std::vector<double> values) {
  for (double& value : values) value = value > 0 ? std::log(value) : kMinusMuch;
  return values;
}

at::Tensor Rows(const std::vector<std::vector<double>>& rows) {
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows) tensors.push_back(at::tensor(row, at::kFloat));
  return at::stack(tensors);
}

std::vector<int64_t> Ids(const std::vector<ChosenToken>& tokens) {
  std::vector<int64_t> ids;
  for (const ChosenToken& token : tokens) ids.push_back(token.id);
  return ids;
}

// A model whose next token depends on the last one alone: row i of `table` follows token i, row 0 the prompt.
std::vector<int64_t> Search(const GenerationOptions& options, const std::vector<std::vector<double>>& table,
                            std::vector<int64_t> prompt_ids = {}) {
  BeamSearch search(options, {kEnd}, std::move(prompt_ids));
  std::vector<std::vector<double>> rows = {Probabilities(table[0])};
  while (!search.finished()) {
    const absl::StatusOr<BeamSearch::Step> step = search.Advance(Rows(rows));
    EXPECT_TRUE(step.ok()) << step.status();
    if (!step.ok()) return {};
    rows.clear();
    for (const int64_t token : step->tokens) rows.push_back(Probabilities(table[token]));
  }
  return Ids(search.best());
}

TEST(BeamSearchTest, FindsAPathThatBeginsWithTheLessLikelyToken) {
  // 1 is the likelier first token, but 2 is followed by a token that is certain.
  const std::vector<std::vector<double>> table = {{0, 0.6, 0.4, 0}, {0, 0.3, 0.3, 0.4}, {0, 0, 0, 1}, {1, 0, 0, 0}};
  EXPECT_THAT(Search({.max_new_tokens = 2, .num_beams = 2}, table), ElementsAre(2, 3));
  EXPECT_THAT(Search({.max_new_tokens = 1, .num_beams = 2}, table), ElementsAre(1));
}

TEST(BeamSearchTest, TheFirstStepTellsDifferentTokensAndTheNextStepsTheirParents) {
  BeamSearch search({.max_new_tokens = 5, .num_beams = 3}, {kEnd}, {});
  const auto first = search.Advance(Rows({Probabilities({0, 0.2, 0.5, 0.3})}));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(first->tokens, ElementsAre(2, 3, 1));
  EXPECT_THAT(first->parents, ElementsAre(0, 0, 0));
  const auto second = search.Advance(
      Rows({Probabilities({0, 0.8, 0.1, 0.1}), Probabilities({0, 0, 0, 1}), Probabilities({0, 0.3, 0.4, 0.3})}));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(second->tokens, ElementsAre(1, 3, 2));
  EXPECT_THAT(second->parents, ElementsAre(0, 1, 2));
}

TEST(BeamSearchTest, BothBeamsMayHaveOneParent) {
  BeamSearch search({.max_new_tokens = 5, .num_beams = 2}, {kEnd}, {});
  ASSERT_TRUE(search.Advance(Rows({Probabilities({0, 0.9, 0.1, 0})})).ok());
  const auto second = search.Advance(Rows({Probabilities({0, 0.5, 0.4, 0.1}), Probabilities({0, 0.4, 0.3, 0.3})}));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(second->tokens, ElementsAre(1, 2));
  EXPECT_THAT(second->parents, ElementsAre(0, 0));
}

TEST(BeamSearchTest, LengthPenaltyDecidesBetweenShortAndLong) {
  // Ending at once has 0.4; going on to the end has 0.3.
  const std::vector<std::vector<double>> table = {
      {0.4, 0.3, 0.29, 0.01}, {0, 0, 0, 1}, {0.5, 0.1, 0.2, 0.2}, {1, 0, 0, 0}};
  EXPECT_THAT(Search({.max_new_tokens = 4, .num_beams = 2, .length_penalty = 0}, table), ElementsAre(kEnd));
  EXPECT_THAT(Search({.max_new_tokens = 4, .num_beams = 2, .length_penalty = 1}, table), ElementsAre(1, 3, kEnd));
  EXPECT_THAT(Search({.max_new_tokens = 4, .num_beams = 2, .length_penalty = -2}, table), ElementsAre(kEnd));
}

TEST(BeamSearchTest, StopsWhenTheBestLiveBeamIsWorseThanAllThatEnded) {
  BeamSearch search({.max_new_tokens = 20, .num_beams = 2, .length_penalty = 0}, {kEnd}, {});
  ASSERT_TRUE(search.Advance(Rows({Probabilities({0.5, 0.3, 0.2, 0})})).ok());
  EXPECT_FALSE(search.finished()) << "one hypothesis is not two";
  const auto step = search.Advance(Rows({Probabilities({0.9, 0.1, 0, 0}), Probabilities({0.1, 0.3, 0.3, 0.3})}));
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_TRUE(search.finished());
  EXPECT_THAT(step->tokens, IsEmpty());
  EXPECT_THAT(step->parents, IsEmpty());
  EXPECT_THAT(Ids(search.best()), ElementsAre(kEnd));
}

// The end of the text is the third best of two beams' candidates: it ends nothing, and takes no beam's place.
TEST(BeamSearchTest, OnlyTheBestCandidatesMayEnd) {
  BeamSearch search({.max_new_tokens = 2, .num_beams = 2}, {kEnd}, {});
  const auto step = search.Advance(Rows({Probabilities({0.2, 0.4, 0.3, 0.1})}));
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(step->tokens, ElementsAre(1, 2));
  ASSERT_TRUE(
      search.Advance(Rows({Probabilities({0.25, 0.25, 0.3, 0.2}), Probabilities({0.2, 0.3, 0.25, 0.25})})).ok());
  EXPECT_THAT(Ids(search.best()), ElementsAre(1, 2));
}

TEST(BeamSearchTest, EachOfSeveralEndsEndsAHypothesisAndNoBeamIsLost) {
  BeamSearch search({.max_new_tokens = 9, .num_beams = 2}, {0, 1}, {});
  const auto first = search.Advance(Rows({Probabilities({0.1, 0.5, 0.3, 0.1})}));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(first->tokens, ElementsAre(2, 3)) << "the best candidate has ended";
  ASSERT_TRUE(search.Advance(Rows({Probabilities({0.9, 0, 0.1, 0}), Probabilities({0, 0, 0.5, 0.5})})).ok());
  ASSERT_TRUE(search.finished());
  EXPECT_THAT(Ids(search.best()), ElementsAre(2, 0)) << "log(0.27) / 2 is more than log(0.5)";
}

TEST(BeamSearchTest, NoTextEndsBeforeTheLeastLength) {
  const std::vector<std::vector<double>> table = {{0.9, 0.05, 0.05}, {0.8, 0.1, 0.1}, {0.8, 0.1, 0.1}};
  EXPECT_THAT(Search({.max_new_tokens = 8, .min_new_tokens = 3, .num_beams = 2}, table), SizeIs(4));
  EXPECT_THAT(Search({.max_new_tokens = 8, .num_beams = 2}, table), SizeIs(1));
}

TEST(BeamSearchTest, RepetitionPenaltyCountsThePromptAndTheBeamsOwnTokens) {
  const std::vector<std::vector<double>> table(4, {0, 0.45, 0.35, 0.2});
  const GenerationOptions options = {.max_new_tokens = 3, .repetition_penalty = 9, .num_beams = 2};
  EXPECT_THAT(Search({.max_new_tokens = 3, .num_beams = 2}, table), ElementsAre(1, 1, 1));
  std::vector<int64_t> once_each = Search(options, table);
  std::sort(once_each.begin(), once_each.end());
  EXPECT_THAT(once_each, ElementsAre(1, 2, 3));
  EXPECT_EQ(Search({.max_new_tokens = 1, .repetition_penalty = 9, .num_beams = 2}, table, {1, 1, 99})[0], 2);
}

TEST(BeamSearchTest, TellsTheModelsOwnLogprobs) {
  BeamSearch search({.max_new_tokens = 2, .repetition_penalty = 1.5, .num_beams = 2, .logprobs = 2}, {kEnd},
                    /*prompt_ids=*/{1});
  const at::Tensor first = Rows({Probabilities({0, 0.45, 0.35, 0.2})});
  const auto step = search.Advance(first);
  ASSERT_TRUE(step.ok()) << step.status();
  ASSERT_TRUE(search.Advance(at::cat({first, first})).ok());
  const std::vector<ChosenToken> best = search.best();
  ASSERT_THAT(best, SizeIs(2));
  for (const ChosenToken& token : best) {
    EXPECT_NEAR(token.logprob, at::log_softmax(first[0], 0)[token.id].item<float>(), 1e-6);
    ASSERT_THAT(token.top, SizeIs(2));
    EXPECT_EQ(token.top[0].id, 1);
    EXPECT_EQ(token.top[1].id, 2);
  }
}

TEST(BeamSearchTest, TakesASmallVocabulary) {
  EXPECT_THAT(Search({.max_new_tokens = 4, .num_beams = 8}, {{0.1, 0.9}, {0.2, 0.8}}), ElementsAre(1, 1, 1, 1));
}

TEST(BeamSearchTest, RefusesScoresThatMeanNothing) {
  const auto advance = [](const at::Tensor& logits, int64_t min_new_tokens = 0) {
    BeamSearch search({.max_new_tokens = 4, .min_new_tokens = min_new_tokens, .num_beams = 2}, {kEnd}, {});
    return search.Advance(logits).status().code();
  };
  EXPECT_EQ(advance(at::zeros({1, 5})), absl::StatusCode::kOk);
  EXPECT_EQ(advance(at::zeros({2, 5})), absl::StatusCode::kInternal);
  EXPECT_EQ(advance(at::zeros({5})), absl::StatusCode::kInternal);
  EXPECT_EQ(advance(at::zeros({1, 0})), absl::StatusCode::kInternal);
  EXPECT_EQ(advance(at::full({1, 5}, std::numeric_limits<double>::quiet_NaN())), absl::StatusCode::kInternal);
  EXPECT_EQ(advance(at::full({1, 5}, std::numeric_limits<double>::infinity())), absl::StatusCode::kInternal);
  EXPECT_EQ(advance(at::zeros({1, 1}), /*min_new_tokens=*/2), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace diptych::blip2
