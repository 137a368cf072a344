// What the options of generation do to the demo model's answers, through the RPC: as transformers does it
// (tests/goldens/options, made by tools/make_option_goldens.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "language_service/server.h"
#include "tests/language_service/language_client.h"
#include "tests/testing/fake_tiers.h"
#include "tests/testing/paths.h"
#include "tests/testing/sample_images.h"

namespace diptych::language {
namespace {

using nlohmann::json;
using testing::GenerateOutcome;
using ::testing::HasSubstr;
using testing::TextRequest;

const json& Goldens() {
  static const auto& goldens = *new json(json::parse(testing::ReadRepositoryFile("tests/goldens/options/golden.json")));
  return goldens;
}

// Options in a golden's words.
void SetOptions(const json& golden, v1::GenerationOptions& options) {
  for (const auto& [name, value] : golden.items()) {
    if (name == "max_new_tokens") options.set_max_new_tokens(value);
    if (name == "min_new_tokens") options.set_min_new_tokens(value);
    if (name == "num_beams") options.set_num_beams(value);
    if (name == "repetition_penalty") options.set_repetition_penalty(value);
    if (name == "presence_penalty") options.set_presence_penalty(value);
    if (name == "frequency_penalty") options.set_frequency_penalty(value);
    if (name == "ignore_eos") options.set_ignore_eos(value);
    if (name == "stop_token_ids") {
      for (const int id : value) options.add_stop_token_ids(id);
    }
    if (name != "logit_bias") continue;
    for (const auto& [id, bias] : value.items()) (*options.mutable_logit_bias())[std::stoi(id)] = bias;
  }
}

std::vector<int> TokenIds(const v1::Answer& answer) {
  return {answer.token_ids().begin(), answer.token_ids().end()};
}

class GenerationOptionsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    LanguageOptions options;
    options.model = testing::RepositoryPath("models/demo");
    options.listen = "127.0.0.1:0";
    options.threads = 1;
    options.max_batched_tokens = 48;  // long prompts then take several passes
    options.vision_target = testing::DeadTarget();
    auto language = LanguageServer::Start(options);
    ASSERT_TRUE(language.ok()) << language.status();
    language_ = language->release();
  }
  static void TearDownTestSuite() { delete language_; }

  GenerateOutcome Ask(const v1::GenerateRequest& request) { return testing::Generate(*stub_, request); }
  v1::Answer Answer(const v1::GenerateRequest& request) {
    const GenerateOutcome outcome = Ask(request);
    EXPECT_TRUE(outcome.status.ok()) << outcome.status;
    return outcome.status.ok() ? outcome.answer() : v1::Answer();
  }
  // The field that a changed text request is refused for.
  std::string Refused(const std::function<void(v1::Question&)>& change) {
    v1::GenerateRequest request = TextRequest("the cat");
    change(*request.mutable_question());
    const absl::Status status = Ask(request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return FieldOf(status);
  }

  std::unique_ptr<v1::LanguageService::Stub> stub_ = testing::LanguageStub(language_->port());
  static inline LanguageServer* language_ = nullptr;
};

TEST_F(GenerationOptionsTest, AnswersAreTransformersGreedyAndWithBeams) {
  ASSERT_GT(Goldens()["answers"].size(), 20u);
  for (const json& golden : Goldens()["answers"]) {
    SCOPED_TRACE(golden["options"].dump());
    v1::GenerateRequest request = TextRequest(golden["text"]);
    SetOptions(golden["options"], *request.mutable_question()->mutable_generation());
    EXPECT_EQ(TokenIds(Answer(request)), golden["token_ids"].get<std::vector<int>>());
  }
}

TEST_F(GenerationOptionsTest, AnswersDoNotDependOnWhoElseIsAsked) {
  std::vector<std::future<v1::Answer>> answers;
  for (const json& golden : Goldens()["answers"]) {
    answers.push_back(std::async(std::launch::async, [&golden] {
      v1::GenerateRequest request = TextRequest(golden["text"]);
      SetOptions(golden["options"], *request.mutable_question()->mutable_generation());
      const auto stub = testing::LanguageStub(language_->port());
      const GenerateOutcome outcome = testing::Generate(*stub, request);
      return outcome.status.ok() ? outcome.answer() : v1::Answer();
    }));
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    const json& golden = Goldens()["answers"][i];
    EXPECT_EQ(TokenIds(answers[i].get()), golden["token_ids"].get<std::vector<int>>()) << golden["options"].dump();
  }
}

TEST_F(GenerationOptionsTest, AStopTokenEndsTheAnswerAndIsNotInItsText) {
  v1::GenerateRequest request = TextRequest("a red circle beside a");
  const v1::Answer whole = Answer(request);
  ASSERT_GE(whole.token_ids_size(), 3);
  request.mutable_question()->mutable_generation()->add_stop_token_ids(whole.token_ids(1));
  const GenerateOutcome stopped = Ask(request);
  ASSERT_TRUE(stopped.status.ok()) << stopped.status;
  EXPECT_EQ(stopped.answer().token_ids_size(), 2);
  EXPECT_EQ(stopped.answer().finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(whole.text().rfind(stopped.answer().text(), 0), 0u);
  EXPECT_LT(stopped.answer().text().size(), whole.text().size());
  EXPECT_EQ(stopped.joined_deltas(), stopped.answer().text());
}

TEST_F(GenerationOptionsTest, IgnoredEndsRunToTheLastToken) {
  v1::GenerateRequest request = TextRequest("Question: What color is the circle? Answer:");
  request.mutable_question()->mutable_generation()->set_max_new_tokens(30);
  request.mutable_question()->mutable_generation()->set_ignore_eos(true);
  const v1::Answer answer = Answer(request);
  EXPECT_EQ(answer.token_ids_size(), 30);
  EXPECT_EQ(answer.finish_reason(), v1::FINISH_REASON_LENGTH);
}

TEST_F(GenerationOptionsTest, MinPOfOneIsGreedy) {
  v1::GenerateRequest request = TextRequest("a red circle beside a");
  const std::vector<int> greedy = TokenIds(Answer(request));
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_temperature(3);
  options.set_min_p(1);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    options.set_seed(seed);
    EXPECT_EQ(TokenIds(Answer(request)), greedy);
  }
}

double MeanLogprob(const v1::Answer& answer) {
  double sum = 0;
  for (const v1::StepLogprobs& step : answer.logprobs()) sum += step.chosen().logprob();
  return sum / answer.logprobs_size();
}

TEST_F(GenerationOptionsTest, BestOfIsTheLikeliestOfItsDraws) {
  v1::GenerateRequest request = TextRequest("a red circle beside a");
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_temperature(2);
  options.set_logprobs(1);
  std::vector<v1::Answer> draws;
  for (uint64_t seed = 40; seed < 44; ++seed) {
    options.set_seed(seed);
    draws.push_back(Answer(request));
  }
  const auto best = std::max_element(draws.begin(), draws.end(), [](const v1::Answer& a, const v1::Answer& b) {
    return MeanLogprob(a) < MeanLogprob(b);
  });
  int tokens = 0;
  std::set<std::string> texts;
  for (const v1::Answer& draw : draws) {
    tokens += draw.token_ids_size();
    texts.insert(draw.text());
  }
  ASSERT_GT(texts.size(), 1u) << "the draws should differ";
  options.set_seed(40);
  options.set_best_of(4);
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(TokenIds(outcome.answer()), TokenIds(*best));
  EXPECT_EQ(outcome.answer().text(), best->text());
  EXPECT_EQ(outcome.joined_deltas(), best->text());
  EXPECT_EQ(outcome.answer().usage().completion_tokens(), tokens);
  EXPECT_EQ(outcome.answer().context_budget().generated(), best->token_ids_size());
  options.clear_logprobs();
  EXPECT_EQ(TokenIds(Answer(request)), TokenIds(*best)) << "also where nobody asks for logprobs";
  EXPECT_EQ(Answer(request).logprobs_size(), 0);
}

TEST_F(GenerationOptionsTest, BestOfWithoutATemperatureIsOneAnswer) {
  v1::GenerateRequest request = TextRequest("a red circle beside a");
  const v1::Answer one = Answer(request);
  request.mutable_question()->mutable_generation()->set_best_of(8);
  const v1::Answer answer = Answer(request);
  EXPECT_EQ(TokenIds(answer), TokenIds(one));
  EXPECT_EQ(answer.usage().completion_tokens(), one.token_ids_size());
}

TEST_F(GenerationOptionsTest, PromptsAreScoredAsTransformersScoresThem) {
  for (const json& golden : Goldens()["scored"]) {
    v1::GenerateRequest request;
    for (const int id : golden["ids"]) request.mutable_question()->add_prompt_token_ids(id);
    request.mutable_question()->mutable_generation()->set_max_new_tokens(0);
    request.mutable_question()->mutable_generation()->set_prompt_logprobs(2);
    const GenerateOutcome outcome = Ask(request);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    const v1::Answer& answer = outcome.answer();
    EXPECT_EQ(answer.token_ids_size(), 0);
    EXPECT_EQ(answer.text(), "");
    EXPECT_EQ(answer.finish_reason(), v1::FINISH_REASON_LENGTH);
    ASSERT_EQ(answer.prompt_logprobs_size(), static_cast<int>(golden["ids"].size()));
    EXPECT_EQ(answer.prompt_logprobs(0).top_size(), 0) << "the first token follows nothing";
    for (int i = 1; i < answer.prompt_logprobs_size(); ++i) {
      const v1::StepLogprobs& step = answer.prompt_logprobs(i);
      EXPECT_EQ(step.chosen().token_id(), golden["ids"][static_cast<size_t>(i)].get<int>());
      EXPECT_NEAR(step.chosen().logprob(), golden["logprobs"][static_cast<size_t>(i) - 1].get<double>(), 2e-3);
      ASSERT_EQ(step.top_size(), 2);
      EXPECT_GE(step.top(0).logprob(), step.top(1).logprob());
    }
    // The first piece has them, too.
    ASSERT_TRUE(outcome.messages[1].has_delta());
    EXPECT_EQ(outcome.messages[1].delta().prompt_logprobs_size(), answer.prompt_logprobs_size());
    if (!golden.contains("text")) continue;
    v1::GenerateRequest text = TextRequest(golden["text"]);
    *text.mutable_question()->mutable_generation() = request.question().generation();
    const v1::Answer same = Answer(text);
    EXPECT_EQ(same.prompt_token_ids_size(), answer.prompt_token_ids_size());
    EXPECT_EQ(same.prompt_logprobs_size(), answer.prompt_logprobs_size());
  }
}

// A prompt that takes several passes, and whose blocks are in the cache.
TEST_F(GenerationOptionsTest, LongPromptsAreScoredWholeWhateverIsCached) {
  std::string text;
  while (text.size() < 400) text += "Question: What color is the circle? Answer: red. ";
  v1::GenerateRequest plain = TextRequest(text);
  plain.mutable_question()->mutable_generation()->set_max_new_tokens(2);
  const v1::Answer before = Answer(plain);
  ASSERT_GT(before.usage().prompt_tokens(), 96);
  v1::GenerateRequest scored = plain;
  scored.mutable_question()->mutable_generation()->set_prompt_logprobs(0);
  const v1::Answer first = Answer(scored), second = Answer(scored);
  EXPECT_EQ(first.usage().cached_tokens(), 0);
  EXPECT_EQ(first.prompt_logprobs_size(), before.usage().prompt_tokens());
  EXPECT_EQ(TokenIds(first), TokenIds(before));
  ASSERT_EQ(second.prompt_logprobs_size(), first.prompt_logprobs_size());
  for (int i = 0; i < first.prompt_logprobs_size(); ++i) {
    EXPECT_NEAR(first.prompt_logprobs(i).chosen().logprob(), second.prompt_logprobs(i).chosen().logprob(), 1e-3);
  }
  EXPECT_GT(Answer(plain).usage().cached_tokens(), 0) << "the cache still helps those who do not ask for scores";
}

TEST_F(GenerationOptionsTest, MaxNewTokensIsCutToTheWindowOnRequest) {
  v1::GenerateRequest request = TextRequest("a red circle");
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_max_new_tokens(1 << 20);
  EXPECT_EQ(ReasonOf(Ask(request).status), reason::kContextLengthExceeded);
  options.set_cut_max_new_tokens(true);
  options.set_ignore_eos(true);
  const v1::Answer answer = Answer(request);
  EXPECT_EQ(answer.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(answer.context_budget().remaining(), 0);
  EXPECT_EQ(answer.context_budget().reserved_output(), answer.token_ids_size());
}

TEST_F(GenerationOptionsTest, RefusesWhatIsOutOfRangeByName) {
  const auto refuses = [&](const std::string& field, const std::function<void(v1::GenerationOptions&)>& change) {
    EXPECT_EQ(Refused([&](v1::Question& question) { change(*question.mutable_generation()); }),
              "question.generation." + field);
  };
  for (const double value : {-2.1, 2.1, std::nan("")}) {
    refuses("presence_penalty", [&](auto& options) { options.set_presence_penalty(value); });
    refuses("frequency_penalty", [&](auto& options) { options.set_frequency_penalty(value); });
  }
  for (const double value : {-0.1, 1.1, std::nan("")}) refuses("min_p", [&](auto& o) { o.set_min_p(value); });
  for (const double value : {-101.0, 101.0, std::nan("")}) {
    refuses("logit_bias", [&](auto& options) { (*options.mutable_logit_bias())[1] = value; });
  }
  for (const int id : {-1, 1 << 20}) {
    refuses("logit_bias", [&](auto& options) { (*options.mutable_logit_bias())[id] = 1; });
    refuses("stop_token_ids", [&](auto& options) { options.add_stop_token_ids(id); });
  }
  refuses("logit_bias", [](auto& options) {
    for (int id = 0; id < 1025; ++id) (*options.mutable_logit_bias())[id] = 1;
  });
  refuses("stop_token_ids", [](auto& options) {
    for (int id = 0; id < 65; ++id) options.add_stop_token_ids(id);
  });
  for (const int value : {0, -1, 9}) refuses("best_of", [&](auto& options) { options.set_best_of(value); });
  for (const int value : {-1, 21}) refuses("prompt_logprobs", [&](auto& o) { o.set_prompt_logprobs(value); });
  refuses("max_new_tokens", [](auto& options) { options.set_max_new_tokens(0); });
}

TEST_F(GenerationOptionsTest, RefusesTokenIdsThatAreNoText) {
  for (const int id : {-1, 1 << 20}) {
    EXPECT_THAT(Refused([&](v1::Question& question) {
                  question.clear_prompt();
                  question.add_prompt_token_ids(id);
                }),
                HasSubstr("prompt_token_ids"));
  }
  EXPECT_THAT(Refused([](v1::Question& question) { question.add_prompt_token_ids(5); }), HasSubstr("prompt"));
}

}  // namespace
}  // namespace diptych::language
