// The same request gets the same tokens, whatever else is in the batch, the cache or the way.
#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <stdexcept>

#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/fake_card.h"
#include "tests/testing/paths.h"

namespace diptych::language {
namespace {

using testing::Asked;
using testing::EngineQuestion;
using testing::IdsOf;

constexpr char kLongText[] = "one two three four five six seven eight nine ten";

class EngineMixTest : public testing::EngineFixture {
 protected:
  using testing::EngineFixture::EngineFixture;

  // One of each kind: greedy, sampled, penalised, with stop strings, with beams; alone and about images, with
  // prefixes that others have, too.
  std::vector<EngineQuestion> Questions() const {
    const auto a = Image("a"), b = Image("b");
    return {
        {.text = "the cat", .options = {.max_new_tokens = 12}},
        {.text = kLongText, .options = {.max_new_tokens = 16, .min_new_tokens = 16}},
        {.text = std::string(kLongText) + " and more", .options = {.max_new_tokens = 8, .min_new_tokens = 4}},
        {.text = kLongText, .options = {.max_new_tokens = 9, .min_new_tokens = 9, .temperature = 1, .seed = 7}},
        {.text = "why", .options = {.max_new_tokens = 20, .temperature = 2, .top_k = 20, .top_p = 0.8, .seed = 8}},
        {.text = "why", .options = {.max_new_tokens = 20, .min_new_tokens = 20, .repetition_penalty = 1.5}},
        {.text = "what", .options = {.max_new_tokens = 30, .min_new_tokens = 30, .stop = {"e", "a"}}},
        {.text = "beams", .options = {.max_new_tokens = 10, .num_beams = 3}},
        {.text = kLongText, .options = {.max_new_tokens = 6, .min_new_tokens = 2, .num_beams = 5, .length_penalty = 2}},
        {.text = "is it red", .options = {.max_new_tokens = 12, .min_new_tokens = 12}, .images = {a}},
        {.text = "is it blue", .options = {.max_new_tokens = 12, .temperature = 1, .seed = 9}, .images = {a}},
        {.text = "", .options = {.max_new_tokens = 15, .min_new_tokens = 5}, .images = {a}},
        {.text = "", .options = {.max_new_tokens = 7, .min_new_tokens = 7, .num_beams = 2}, .images = {b}},
        {.text = "which is red", .options = {.max_new_tokens = 10, .min_new_tokens = 10}, .images = {a, b}},
        {.text = "which is red", .options = {.max_new_tokens = 10, .min_new_tokens = 10}, .images = {b, a}},
    };
  }

  // Each on an engine of its own.
  std::vector<GenerateResult> Alone(const std::vector<EngineQuestion>& questions) {
    std::vector<GenerateResult> results;
    for (const EngineQuestion& question : questions) {
      Start();
      auto result = Ask(question)->Await();
      EXPECT_TRUE(result.ok()) << result.status();
      results.push_back(*std::move(result));
    }
    return results;
  }

  // Engines that start from now on have their decode steps recorded, as on a GPU with --cuda_graphs.
  void RecordBy(testing::FakeCard& card) {
    model_.make_kv_pool = [this, &card, make = model_.make_kv_pool](int64_t blocks, int64_t block_tokens) {
      blip2::KvPool pool = make(blocks, block_tokens);
      EXPECT_TRUE(model_.record_steps(card.Recorder(), card.OnFailure(), pool).ok());
      return pool;
    };
  }

  // Some of the questions at once, on an engine with little room; some are cancelled.
  void RunMix(const std::vector<EngineQuestion>& questions, const std::vector<GenerateResult>& expected, uint64_t seed,
              int64_t least_blocks) {
    std::mt19937_64 random(seed);
    const auto upto = [&](int64_t most) { return static_cast<int64_t>(random() % most) + 1; };
    if (seed % 5 == 0 || engine_ == nullptr) {
      Start({.max_batch = upto(12), .max_batched_tokens = 8 + 4 * upto(16)}, least_blocks + upto(2 * least_blocks));
    }
    std::vector<std::pair<size_t, std::unique_ptr<Asked>>> asked;
    for (int64_t left = 1 + upto(7); left > 0; --left) {
      const size_t index = random() % questions.size();
      asked.emplace_back(index, Ask(questions[index]));
    }
    if (random() % 2 == 0) asked[random() % asked.size()].second->Cancel();
    for (auto& [index, one] : asked) {
      const auto result = one->Await();
      if (absl::IsCancelled(result.status())) continue;
      ASSERT_TRUE(result.ok()) << result.status() << " question " << index << " seed " << seed;
      ASSERT_EQ(IdsOf(*result), IdsOf(expected[index])) << "question " << index << " seed " << seed;
      ASSERT_EQ(result->text, expected[index].text) << "question " << index << " seed " << seed;
      ASSERT_EQ(result->finish_reason, expected[index].finish_reason);
    }
    ExpectNothingHeld();
  }
};

TEST_F(EngineMixTest, TinyModelSaysInEachOf400MixesWhatItSaysAlone) {
  const auto questions = Questions();
  const auto expected = Alone(questions);
  engine_.reset();
  int64_t preemptions = 0, cached = 0;
  for (uint64_t seed = 0; seed < 400 && !HasFatalFailure(); ++seed) {
    RunMix(questions, expected, seed, /*least_blocks=*/24);
    const EngineStats stats = engine_->stats();
    preemptions += stats.preemptions;
    cached += stats.cached_tokens;
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(cached, 0);
}

// As on a GPU: the model chooses for all sequences at once, and no sequence by itself.
TEST_F(EngineMixTest, AModelThatChoosesTheTokensSaysTheSame) {
  auto questions = Questions();
  questions.push_back({.text = "why", .options = {.max_new_tokens = 9, .logprobs = 3, .prompt_logprobs = 2}});
  questions.push_back({.text = "why",
                       .options = {.max_new_tokens = 9,
                                   .temperature = 1,
                                   .seed = 4,
                                   .presence_penalty = 1,
                                   .logit_bias = {{5, 2.0}},
                                   .min_p = 0.01}});
  const auto expected = Alone(questions);
  engine_.reset();
  std::atomic<int64_t> chosen = 0;
  model_.begin_choice = [&](std::span<const blip2::RowChoice> rows) {
    chosen += std::ssize(rows);
    return blip2::BeginChoice(rows);
  };
  for (uint64_t seed = 0; seed < 60 && !HasFatalFailure(); ++seed) {
    RunMix(questions, expected, seed, /*least_blocks=*/24);
  }
  EXPECT_GT(chosen, 0);
}

// Steps with prompts among them are not recorded.
TEST_F(EngineMixTest, RecordedStepsSayTheSame) {
  const auto questions = Questions();
  const auto expected = Alone(questions);
  engine_.reset();
  testing::FakeCard card;
  RecordBy(card);
  for (uint64_t seed = 0; seed < 60 && !HasFatalFailure(); ++seed) {
    RunMix(questions, expected, seed, /*least_blocks=*/24);
  }
  engine_.reset();
  EXPECT_GT(card.recorded, 0);
  EXPECT_GT(card.replayed, 2 * card.recorded);
  EXPECT_TRUE(card.failures.empty());
}

TEST_F(EngineMixTest, WhereNothingCanBeRecordedAnswersStayTheSame) {
  const auto questions = Questions();
  const auto expected = Alone(questions);
  engine_.reset();
  testing::FakeCard card;
  card.refuses_to_record = true;
  RecordBy(card);
  RunMix(questions, expected, /*seed=*/0, /*least_blocks=*/24);
  engine_.reset();
  EXPECT_EQ(card.failures.size(), 1u);
}

// A pass that fails is run again, and a sequence draws by the same number.
TEST_F(EngineMixTest, AChoiceThatFailsIsMadeAgainWithTheSameDraw) {
  const std::vector<EngineQuestion> questions = {Questions()[3], Questions()[4], Questions()[10]};
  const auto expected = Alone(questions);
  engine_.reset();
  std::atomic<int> failures = 0;
  model_.begin_choice = [&](std::span<const blip2::RowChoice> rows) {
    if (rows.size() > 1 && ++failures % 2 == 0) throw std::runtime_error("no room for so many");
    return blip2::BeginChoice(rows);
  };
  Start();
  std::vector<std::unique_ptr<Asked>> asked;
  for (const EngineQuestion& question : questions) asked.push_back(Ask(question));
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto result = asked[i]->Await();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(IdsOf(*result), IdsOf(expected[i]));
  }
}

TEST_F(EngineMixTest, TwoThousandAtOnceAreAllAnswered) {
  const auto questions = Questions();
  const auto expected = Alone(questions);
  Start({.queue_limit = 2000}, /*blocks=*/120);
  std::vector<std::unique_ptr<Asked>> asked;
  for (size_t i = 0; i < 2000; ++i) asked.push_back(Ask(questions[i % questions.size()]));
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto result = asked[i]->Await();
    ASSERT_TRUE(result.ok()) << result.status() << " request " << i;
    ASSERT_EQ(IdsOf(*result), IdsOf(expected[i % questions.size()])) << "request " << i;
  }
  ExpectNothingHeld();
}

class DemoMixTest : public EngineMixTest {
 protected:
  DemoMixTest() : EngineMixTest(testing::RepositoryPath("models/demo")) {}
};

TEST_F(DemoMixTest, DemoModelSaysInEachOf100MixesWhatItSaysAlone) {
  const auto questions = Questions();
  const auto expected = Alone(questions);
  engine_.reset();
  for (uint64_t seed = 0; seed < 100 && !HasFatalFailure(); ++seed) {
    RunMix(questions, expected, seed, /*least_blocks=*/10);
  }
}

}  // namespace
}  // namespace diptych::language
