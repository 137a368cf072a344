// An answer that another replica began goes on as if nothing had happened.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/text/utf8.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using testing::RequestWithImage;
using testing::TextRequest;

struct BegunCase {
  std::string name;
  std::function<void(v1::Question&)> change;
};

void PrintTo(const BegunCase& test, std::ostream* stream) {
  *stream << test.name;
}

class BegunAnswerTest : public testing::LanguageFixture, public ::testing::WithParamInterface<BegunCase> {
 protected:
  void StartTrue() {
    StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); });
  }

  // The rest of `whole` after `shown` messages of its stream.
  GenerateOutcome GoOn(v1::GenerateRequest request, const GenerateOutcome& whole, size_t shown) {
    for (size_t i = 0; i < shown; ++i) {
      request.mutable_begun_token_ids()->MergeFrom(whole.messages[i].delta().token_ids());
    }
    return Ask(request);
  }

  static GenerateOutcome Rest(const GenerateOutcome& whole, size_t shown) {
    GenerateOutcome rest = whole;
    rest.messages.erase(rest.messages.begin(), rest.messages.begin() + static_cast<ptrdiff_t>(shown));
    return rest;
  }

  // The text that followed so many tokens, for each place where a message ended: a slow reader gets several in one.
  static std::map<size_t, std::string> TextsAfter(const GenerateOutcome& whole) {
    std::map<size_t, std::string> texts;
    for (size_t shown = 0; shown < whole.messages.size(); ++shown) {
      const GenerateOutcome rest = Rest(whole, shown);
      texts.try_emplace(whole.delta_tokens().size() - rest.delta_tokens().size(), rest.joined_deltas());
    }
    return texts;
  }

  static void ExpectSameAnswer(const v1::Answer& answer, const v1::Answer& whole) {
    EXPECT_EQ(answer.text(), whole.text());
    EXPECT_EQ(std::vector(answer.token_ids().begin(), answer.token_ids().end()),
              std::vector(whole.token_ids().begin(), whole.token_ids().end()));
    EXPECT_EQ(answer.finish_reason(), whole.finish_reason());
    EXPECT_EQ(answer.usage().prompt_tokens(), whole.usage().prompt_tokens());
    EXPECT_EQ(answer.usage().completion_tokens(), whole.usage().completion_tokens());
    EXPECT_EQ(answer.context_budget().SerializeAsString(), whole.context_budget().SerializeAsString());
    EXPECT_EQ(answer.prompt_logprobs_size(), whole.prompt_logprobs_size());
    EXPECT_EQ(answer.relevance_size(), whole.relevance_size());
  }
};

TEST_P(BegunAnswerTest, GoesOnTokenForTokenWhereverItIsCut) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_max_new_tokens(24);
  options.set_ignore_eos(true);
  GetParam().change(*request.mutable_question());
  const GenerateOutcome whole = Ask(request);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  const std::vector<int> tokens = whole.delta_tokens();
  ASSERT_GT(tokens.size(), 4u);
  const std::map<size_t, std::string> texts = TextsAfter(whole);
  for (size_t shown = 1; shown < tokens.size(); ++shown) {
    SCOPED_TRACE(shown);
    const std::vector<int> rest(tokens.begin() + static_cast<ptrdiff_t>(shown), tokens.end());
    v1::GenerateRequest begun = request;
    begun.mutable_begun_token_ids()->Add(tokens.begin(), tokens.end() - static_cast<ptrdiff_t>(rest.size()));
    const GenerateOutcome went_on = Ask(begun);
    ASSERT_TRUE(went_on.status.ok()) << went_on.status;
    EXPECT_EQ(went_on.delta_tokens(), rest);
    EXPECT_TRUE(whole.joined_deltas().ends_with(went_on.joined_deltas())) << went_on.joined_deltas();
    if (texts.contains(shown)) {
      EXPECT_EQ(went_on.joined_deltas(), texts.at(shown));
    }
    EXPECT_EQ(went_on.started().context_budget().generated(), static_cast<int>(shown));
    ExpectSameAnswer(went_on.answer(), whole.answer());
    EXPECT_EQ(went_on.answer().logprobs_size(), options.logprobs() > 0 ? static_cast<int>(rest.size()) : 0);
    for (const auto& message : went_on.messages) EXPECT_EQ(message.delta().prompt_logprobs_size(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Options, BegunAnswerTest,
    ::testing::Values(BegunCase{"Greedy", [](v1::Question&) {}},
                      BegunCase{"Sampled",
                                [](v1::Question& question) {
                                  question.mutable_generation()->set_temperature(1.5);
                                  question.mutable_generation()->set_seed(7);
                                }},
                      BegunCase{"SampledWithPenalties",
                                [](v1::Question& question) {
                                  v1::GenerationOptions& options = *question.mutable_generation();
                                  options.set_temperature(0.8);
                                  options.set_top_p(0.9);
                                  options.set_seed(8);
                                  options.set_repetition_penalty(1.3);
                                  options.set_presence_penalty(1);
                                  options.set_frequency_penalty(0.7);
                                }},
                      BegunCase{"GreedyWithPenalties",
                                [](v1::Question& question) {
                                  v1::GenerationOptions& options = *question.mutable_generation();
                                  options.set_repetition_penalty(1.5);
                                  options.set_presence_penalty(1);
                                  options.set_frequency_penalty(1);
                                  options.set_min_new_tokens(20);
                                  options.set_ignore_eos(false);
                                }},
                      BegunCase{"WithLogprobs",
                                [](v1::Question& question) { question.mutable_generation()->set_logprobs(3); }},
                      BegunCase{"WithPromptLogprobs",
                                [](v1::Question& question) { question.mutable_generation()->set_prompt_logprobs(2); }},
                      BegunCase{"WithRelevance", [](v1::Question& question) { question.set_return_relevance(true); }}),
    [](const auto& info) { return info.param.name; });

// Some six bytes of `text` from about there on.
std::string WholeCharacters(const std::string& text, size_t begin) {
  for (size_t size = 6;; ++size) {
    for (size_t from = begin - 3; from <= begin; ++from) {
      if (IsValidUtf8(text.substr(from, size))) return text.substr(from, size);
    }
  }
}

using BegunTest = BegunAnswerTest;

TEST_F(BegunTest, AStopStringThatStraddlesTheCutIsFound) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_max_new_tokens(24);
  options.set_ignore_eos(true);
  options.set_temperature(1.5);
  options.set_seed(3);
  const std::string text = Ask(request).answer().text();
  ASSERT_GT(text.size(), 12u);
  options.add_stop(WholeCharacters(text, text.size() / 2));
  const GenerateOutcome whole = Ask(request);
  ASSERT_EQ(whole.answer().finish_reason(), v1::FINISH_REASON_STOP_STRING);
  for (size_t shown = 2; shown < whole.messages.size(); ++shown) {
    SCOPED_TRACE(shown);
    const GenerateOutcome went_on = GoOn(request, whole, shown);
    ASSERT_TRUE(went_on.status.ok()) << went_on.status;
    EXPECT_EQ(went_on.joined_deltas(), Rest(whole, shown).joined_deltas());
    ExpectSameAnswer(went_on.answer(), whole.answer());
  }
}

// Asks for as many tokens as the window has room for.
v1::GenerateRequest WindowFilling() {
  v1::GenerateRequest request = TextRequest("the cat");
  v1::GenerationOptions* const options = request.mutable_question()->mutable_generation();
  options->set_ignore_eos(true);
  options->set_max_new_tokens(1000);
  options->set_cut_max_new_tokens(true);
  return request;
}

TEST_F(BegunTest, NoMoreTokensOfThePromptAreCachedThanItHas) {
  Start();
  v1::GenerateRequest request = WindowFilling();
  const GenerateOutcome whole = Ask(request);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  for (const int id : whole.answer().token_ids()) request.add_begun_token_ids(id);
  request.mutable_begun_token_ids()->RemoveLast();
  const v1::Usage usage = Ask(request).answer().usage();  // here, all before the last tokens is cached
  EXPECT_EQ(usage.cached_tokens(), usage.prompt_tokens());
}

TEST_F(BegunTest, WhatCannotGoOnIsRefused) {
  Start();
  const auto refusal = [&](const std::function<void(v1::GenerateRequest&)>& change) {
    v1::GenerateRequest request = TextRequest("the cat");
    request.add_begun_token_ids(5);
    change(request);
    const absl::Status status = Ask(request).status;
    EXPECT_EQ(FieldOf(status), "begun_token_ids") << status;
    return ReasonOf(status);
  };
  const auto options = [](v1::GenerateRequest& request) { return request.mutable_question()->mutable_generation(); };
  EXPECT_EQ(refusal([&](auto& request) { options(request)->set_num_beams(2); }), reason::kOptionRange);
  EXPECT_EQ(refusal([&](auto& request) { options(request)->set_temperature(1); }), reason::kOptionRange);
  EXPECT_EQ(refusal([&](auto& request) {
              options(request)->set_temperature(1);
              options(request)->set_seed(1);
              options(request)->set_best_of(2);
            }),
            reason::kOptionRange);
  EXPECT_EQ(refusal([](auto& request) { request.add_begun_token_ids(1 << 30); }), reason::kOptionRange);
  EXPECT_EQ(refusal([](auto& request) { request.set_begun_token_ids(0, -1); }), reason::kOptionRange);
  EXPECT_EQ(refusal([](auto& request) {
              request.set_begun_token_ids(0, 2);  // ends the answer
              request.add_begun_token_ids(5);
            }),
            reason::kOptionRange);
  EXPECT_EQ(refusal([](auto& request) {
              for (int i = 0; i < 20; ++i) request.add_begun_token_ids(5);
            }),
            reason::kOptionRange);
}

TEST_F(BegunTest, AsManyTokensAsAWindowHoldsMayHaveBegun) {
  Start();
  v1::GenerateRequest request = WindowFilling();
  const GenerateOutcome whole = Ask(request);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  for (const int id : whole.answer().token_ids()) request.add_begun_token_ids(id);
  const GenerateOutcome went_on = Ask(request);
  ASSERT_TRUE(went_on.status.ok()) << went_on.status;
  EXPECT_TRUE(went_on.delta_tokens().empty());
  ExpectSameAnswer(went_on.answer(), whole.answer());
}

}  // namespace
}  // namespace diptych::language
