#include "blip2/decoding/generation.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"

namespace diptych::blip2 {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kEos = 3;

at::Tensor Logits(const std::vector<float>& values) {
  return at::tensor(values);
}

ChosenToken Choose(const GenerationOptions& options, const at::Tensor& logits, std::vector<int64_t> context = {},
                   int64_t generated = 0) {
  TokenSelector selector(options, {kEos});
  const auto token = selector.Choose(logits, context, generated);
  EXPECT_TRUE(token.ok()) << token.status();
  return token.value_or(ChosenToken{.id = -1});
}

TEST(ValidateOptionsTest, AcceptsTheDefaultsAndTheBounds) {
  EXPECT_TRUE(ValidateOptions({}).ok());
  EXPECT_TRUE(ValidateOptions({.max_new_tokens = 1,
                               .min_new_tokens = 1,
                               .temperature = 100,
                               .top_k = 0,
                               .top_p = 1e-9,
                               .repetition_penalty = 100,
                               .length_penalty = -10,
                               .stop = std::vector<std::string>(8, std::string(256, 'x')),
                               .logprobs = 20})
                  .ok());
  EXPECT_TRUE(ValidateOptions({.num_beams = 8, .length_penalty = 10, .logprobs = 20}).ok());
}

TEST(ValidateOptionsTest, NamesTheOptionThatIsOutOfRange) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto refuses = [](const char* field, auto change) {
    GenerationOptions options;
    change(options);
    const absl::Status status = ValidateOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
    EXPECT_EQ(FieldOf(status), std::string("generation.") + field);
  };
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 31}) {
    refuses("max_new_tokens", [&](auto& options) { options.max_new_tokens = value; });
  }
  for (const int64_t value : {-1, 21})
    refuses("min_new_tokens", [&](auto& options) { options.min_new_tokens = value; });
  for (const double value : {-0.1, 100.1, kNan, kInfinity}) {
    refuses("temperature", [&](auto& options) { options.temperature = value; });
  }
  for (const int64_t value : {int64_t{-1}, int64_t{1} << 31})
    refuses("top_k", [&](auto& options) { options.top_k = value; });
  for (const double value : {0.0, -1.0, 1.1, kNan}) refuses("top_p", [&](auto& options) { options.top_p = value; });
  for (const double value : {0.0, -1.0, 100.1, kNan, kInfinity}) {
    refuses("repetition_penalty", [&](auto& options) { options.repetition_penalty = value; });
  }
  for (const int64_t value : {0, -1, 9}) refuses("num_beams", [&](auto& options) { options.num_beams = value; });
  refuses("num_beams", [](auto& options) {
    options.num_beams = 2;
    options.temperature = 0.5;
  });
  for (const double value : {-10.1, 10.1, kNan, kInfinity}) {
    refuses("length_penalty", [&](auto& options) { options.length_penalty = value; });
  }
  for (const int64_t value : {-1, 21}) refuses("logprobs", [&](auto& options) { options.logprobs = value; });
  refuses("stop", [](auto& options) { options.stop = std::vector<std::string>(9, "x"); });
  refuses("stop", [](auto& options) { options.stop = {""}; });
  refuses("stop", [](auto& options) { options.stop = {std::string(257, 'x')}; });
}

TEST(ValidateOptionsTest, RefusesAStopStringThatIsNotUtf8) {
  const absl::Status status = ValidateOptions({.stop = {"ok", "\xe2\x82"}});
  EXPECT_EQ(ReasonOf(status), reason::kTextEncoding);
  EXPECT_EQ(FieldOf(status), "generation.stop");
}

TEST(TokenSelectorTest, GreedyTakesTheLowestIdOfTheBest) {
  EXPECT_EQ(Choose({}, Logits({0, 5, -1, 5, 5})).id, 1);
  EXPECT_EQ(Choose({}, Logits({-3, -3})).id, 0);
  EXPECT_EQ(Choose({}, at::tensor(std::vector<float>{0, 1, 2}).to(at::kBFloat16)).id, 2);
}

TEST(TokenSelectorTest, PenalisesEachIdOfTheContextOnce) {
  // As transformers: positive scores are divided, negative ones multiplied.
  EXPECT_EQ(Choose({.repetition_penalty = 2}, Logits({4, 3, 1}), {0, 0, 0}).id, 1);
  EXPECT_EQ(Choose({.repetition_penalty = 1.2}, Logits({4, 3, 1}), {0, 0, 0}).id, 0);
  EXPECT_EQ(Choose({.repetition_penalty = 2}, Logits({-4, -3, -5}), {1}).id, 0);
  EXPECT_EQ(Choose({.repetition_penalty = 0.5}, Logits({2, 3, 1}), {0}).id, 0) << "below 1 it rewards";
  EXPECT_EQ(Choose({.repetition_penalty = 2}, Logits({4, 3, 1}), {-1, 3, int64_t{1} << 40}).id, 0) << "unknown ids";
}

TEST(TokenSelectorTest, TheSmallestPenaltyIsNoOverflow) {
  EXPECT_EQ(Choose({.temperature = 1, .repetition_penalty = 1e-300}, Logits({1, 2, 0}), {0}).id, 0);
}

TEST(TokenSelectorTest, EndOfSequenceWaitsForTheMinimumLength) {
  const at::Tensor logits = Logits({0, 1, 2, 9});
  EXPECT_EQ(Choose({.min_new_tokens = 2}, logits, {}, 0).id, 2);
  EXPECT_EQ(Choose({.min_new_tokens = 2}, logits, {}, 1).id, 2);
  EXPECT_EQ(Choose({.min_new_tokens = 2}, logits, {}, 2).id, kEos);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_NE(Choose({.min_new_tokens = 1, .temperature = 100, .seed = seed}, logits).id, kEos);
  }
}

TEST(TokenSelectorTest, SaysWhenScoresAreNotFinite) {
  for (const double bad : {NAN, INFINITY, -INFINITY}) {
    for (const double temperature : {0.0, 1.0}) {
      TokenSelector selector({.temperature = temperature}, {kEos});
      const auto token = selector.Choose(Logits({0, 1, static_cast<float>(bad)}), {}, 0);
      EXPECT_EQ(token.status().code(), absl::StatusCode::kInternal);
    }
  }
}

TEST(TokenSelectorTest, SaysWhenNoTokenIsLeft) {
  TokenSelector selector({.min_new_tokens = 1}, {0, 1});
  EXPECT_EQ(selector.Choose(Logits({1, 2}), {}, 0).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(selector.Choose(at::zeros({2, 2}), {}, 0).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(selector.Choose(at::zeros({0}), {}, 0).status().code(), absl::StatusCode::kInternal);
}

TEST(TokenSelectorTest, ASeedGivesTheSameTokens) {
  const at::Tensor logits = at::zeros({1000});
  const auto draws = [&](std::optional<uint64_t> seed) {
    TokenSelector selector({.temperature = 1, .top_k = 0, .seed = seed}, {kEos});
    std::vector<int64_t> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(selector.Choose(logits, {}, i)->id);
    return ids;
  };
  // The 64-bit Mersenne Twister's outputs are fixed by the C++ standard, so these ids are too.
  EXPECT_EQ(draws(42), (std::vector<int64_t>{755, 639, 752, 136, 903, 94, 574, 372}));
  EXPECT_NE(draws(42), draws(43));
  EXPECT_NE(draws(std::nullopt), draws(std::nullopt));
}

TEST(TokenSelectorTest, DrawsAsOftenAsProbable) {
  TokenSelector selector({.temperature = 0.5, .seed = 1}, {kEos});
  const std::vector<double> expected = {0.1, 0.6, 0.3};
  std::vector<float> logits;
  for (const double p : expected) logits.push_back(static_cast<float>(0.5 * std::log(p)));
  std::map<int64_t, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[selector.Choose(Logits(logits), {}, i)->id];
  // Five standard deviations.
  for (int64_t id = 0; id < 3; ++id) EXPECT_NEAR(counts[id] / double{kDraws}, expected[id], 0.018) << id;
}

TEST(TokenSelectorTest, LogprobsAreThoseOfTheModelBeforeAnyStep) {
  const at::Tensor logits = Logits({1, 3, 2, 3});
  const ChosenToken token =
      Choose({.min_new_tokens = 5, .temperature = 0, .repetition_penalty = 50, .logprobs = 3}, logits, {1});
  const at::Tensor expected = at::log_softmax(logits, 0);
  EXPECT_EQ(token.id, 2);
  EXPECT_NEAR(token.logprob, expected[2].item<float>(), 1e-6);
  ASSERT_THAT(token.top, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(token.top[i].id, (std::vector<int64_t>{1, 3, 2})[i]);
    EXPECT_NEAR(token.top[i].logprob, expected[token.top[i].id].item<float>(), 1e-6);
  }
  EXPECT_THAT(Choose({}, logits).top, IsEmpty());
  EXPECT_EQ(Choose({}, logits).logprob, 0);
  EXPECT_THAT(Choose({.logprobs = 20}, logits).top, SizeIs(4)) << "no more than there are tokens";
}

// All that is shown of `text` when it comes in pieces of `piece` bytes.
std::string Shown(StopStringFilter& filter, const std::string& text, size_t piece) {
  std::string shown;
  for (size_t i = 0; i < text.size(); i += piece) shown += filter.Push(text.substr(i, piece));
  return shown + filter.Finish();
}

TEST(StopStringFilterTest, CutsAtAStopStringAcrossBorders) {
  for (size_t piece = 1; piece <= 20; ++piece) {
    StopStringFilter filter({"Question:", "\n\n"});
    EXPECT_EQ(Shown(filter, "a cat. Question: what", piece), "a cat. ");
    EXPECT_TRUE(filter.found());
    EXPECT_EQ(filter.Push("more"), "");
    EXPECT_EQ(filter.Finish(), "");
  }
}

TEST(StopStringFilterTest, TheFirstThatIsCompleteEndsTheText) {
  for (size_t piece = 1; piece <= 8; ++piece) {
    StopStringFilter inner({"bcdef", "cd"});
    EXPECT_EQ(Shown(inner, "abcdefg", piece), "ab");
    StopStringFilter together({"cd", "bcd"});
    EXPECT_EQ(Shown(together, "abcdefg", piece), "a") << "the longest of those that end together";
    StopStringFilter repeated({"aab"});
    EXPECT_EQ(Shown(repeated, "aaaab", piece), "aa");
  }
}

TEST(StopStringFilterTest, ReleasesTextAsSoonAsItCannotStop) {
  StopStringFilter filter({"stop"});
  EXPECT_EQ(filter.Push("a st"), "a ");
  EXPECT_EQ(filter.Push("ar"), "star");
  EXPECT_EQ(filter.Push("sto"), "");
  EXPECT_EQ(filter.Push("sto"), "sto");
  EXPECT_FALSE(filter.found());
  EXPECT_EQ(filter.Finish(), "sto");
}

TEST(StopStringFilterTest, NeverSplitsACharacter) {
  // é is c3 a9, è is c3 a8: the first bytes agree.
  StopStringFilter filter({"\u00e9!"});
  EXPECT_EQ(filter.Push("\u00e8"), "\u00e8");
  EXPECT_EQ(filter.Push("x\u00e9"), "x");
  EXPECT_EQ(filter.Push("?"), "\u00e9?");
  EXPECT_EQ(filter.Push("\u00e9!"), "");
  EXPECT_TRUE(filter.found());
}

TEST(StopStringFilterTest, WithoutStopStringsPassesEverything) {
  StopStringFilter filter({});
  EXPECT_EQ(filter.Push("a b"), "a b");
  EXPECT_EQ(filter.Push(""), "");
  EXPECT_EQ(filter.Finish(), "");
  EXPECT_FALSE(filter.found());
}

}  // namespace
}  // namespace diptych::blip2
