// The language engine: shared passes and prefixes, projections, limits, its end.
#include "language_service/engine/engine.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/gate.h"

namespace diptych::language {
namespace {

using testing::EngineQuestion;
using testing::Gate;
using testing::IdsOf;
using testing::kNotANumber;
using testing::OfLength;

class EngineTest : public testing::EngineFixture {};

TEST_F(EngineTest, RequestsThatAreInsideTogetherShareTheirPasses) {
  Gate gate;
  HoldPasses(gate);
  Start();
  const auto first = Ask(OfLength(20));
  gate.AwaitArrivals(1);
  const auto second = Ask(OfLength(19, "a dog"));
  const auto third = Ask(OfLength(19, "why"));
  gate.Open();
  for (const auto* asked : {&first, &second, &third}) EXPECT_TRUE((*asked)->Await().ok());
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.passes, 20);
  EXPECT_EQ(stats.rows, 58);
  EXPECT_EQ(stats.generated_tokens, 58);
  ExpectNothingHeld();
}

TEST_F(EngineTest, TenQuestionsAboutOneImageAtOnceReadItOnce) {
  Start();
  const auto image = Image("a");
  std::vector<std::unique_ptr<testing::Asked>> asked;
  const std::vector<std::string> texts = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  for (const std::string& text : texts) asked.push_back(Ask({.text = text, .images = {image}}));
  int64_t cached = 0, prompts = 0;
  for (const auto& one : asked) {
    const auto result = one->Await();
    ASSERT_TRUE(result.ok()) << result.status();
    cached += result->timings.cache_hits().kv_prefix();
    prompts += model_.config.num_query_tokens + 2;  // the beginning-of-sequence token and one letter
  }
  EXPECT_EQ(cached, 9 * model_.config.num_query_tokens);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.prompt_tokens, prompts);
  EXPECT_EQ(stats.cached_tokens, cached);
  EXPECT_EQ(stats.prefill_tokens, prompts - cached);
}

TEST_F(EngineTest, TenQuestionsAboutOneImageOneAfterAnotherReadItOnce) {
  Start();
  for (int i = 0; i < 10; ++i) {
    const auto result = Ask({.text = std::string(1, static_cast<char>('a' + i)), .images = {Image("a")}})->Await();
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->timings.cache_hits().kv_prefix(), i == 0 ? 0 : model_.config.num_query_tokens);
  }
  EXPECT_EQ(engine_->stats().prefill_tokens, model_.config.num_query_tokens + 20);
}

TEST_F(EngineTest, AnotherImageUnderTheSamePromptIsReadAgain) {
  Start();
  const auto first = Ask({.images = {Image("a")}})->Await();
  const auto second = Ask({.images = {Image("b")}})->Await();
  EXPECT_EQ(second->timings.cache_hits().kv_prefix(), 0);
  EXPECT_NE(IdsOf(*first), IdsOf(*second));
}

TEST_F(EngineTest, BeamsShareTheirPassesWithOthers) {
  Start();
  EngineQuestion beams = OfLength(8);
  beams.options.num_beams = 4;
  const auto expected = Ask(beams)->Await();
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(expected->tokens.size(), 8u);
  const auto with_others = Ask(beams);
  const auto other = Ask(OfLength(20, "why"));
  EXPECT_EQ(IdsOf(*with_others->Await()), IdsOf(*expected));
  EXPECT_TRUE(other->Await().ok());
  ExpectNothingHeld();
}

TEST_F(EngineTest, BetweenTwoPassesAsManyImagesAreProjectedAsOnePassReads) {
  Gate gate;
  testing::Order order;
  HoldPasses(gate, order);
  model_.project = [&](const at::Tensor& tokens) {
    order.Note('p');
    return at::zeros({1, 4, 32});
  };
  ASSERT_EQ(model_.config.num_query_tokens, 4);
  Start({.max_batch = 8, .max_batched_tokens = 15});
  const auto stream = Ask(OfLength(20));
  gate.AwaitArrivals(1);
  std::vector<std::promise<bool>> projected(6);
  for (auto& promise : projected) {
    engine_->Project(
        {.bytes = std::string(4, '\0'), .dtype = v1::NUMBER_TYPE_FLOAT32, .tokens = 1, .width = 1, .timings = {}},
        "key", /*with_attention=*/false, [&promise](auto image) { promise.set_value(image.ok()); });
  }
  gate.Open();
  for (auto& promise : projected) EXPECT_TRUE(promise.get_future().get());
  EXPECT_TRUE(stream->Await().ok());
  EXPECT_EQ(order.letters().find("dpppdpppd"), 0u) << order.letters();
}

TEST_F(EngineTest, AProjectionThatFailsOrIsNotFiniteIsAnError) {
  const auto status = [&](std::function<at::Tensor(const at::Tensor&)> project) {
    model_.project = std::move(project);
    Start();
    std::promise<absl::Status> promise;
    engine_->Project(
        {.bytes = std::string(4, '\0'), .dtype = v1::NUMBER_TYPE_FLOAT32, .tokens = 1, .width = 1, .timings = {}},
        "key", /*with_attention=*/false, [&promise](auto image) { promise.set_value(image.status()); });
    return promise.get_future().get();
  };
  EXPECT_EQ(status([](const at::Tensor&) -> at::Tensor { throw std::runtime_error("no"); }).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(status([](const at::Tensor&) {
              return at::full({1, 4, 32}, kNotANumber);
            }).code(),
            absl::StatusCode::kInternal);
}

TEST_F(EngineTest, RefusesAtOnceWhatCanNeverFit) {
  Start({}, /*blocks=*/4);
  const absl::Status status = Ask(OfLength(20))->Await().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), reason::kKvFull);
  EXPECT_TRUE(Ask(OfLength(4))->Await().ok());
  ExpectNothingHeld();
}

TEST_F(EngineTest, RefusesAtOnceWhenTooManyAreInside) {
  Gate gate;
  HoldPasses(gate);
  Start({.queue_limit = 2});
  const auto first = Ask(OfLength(3));
  const auto second = Ask(OfLength(3));
  EXPECT_EQ(ReasonOf(Ask(OfLength(3))->Await().status()), reason::kQueueFull);
  gate.Open();
  EXPECT_TRUE(first->Await().ok());
  EXPECT_TRUE(second->Await().ok());
  EXPECT_TRUE(Ask(OfLength(3))->Await().ok());
}

TEST_F(EngineTest, TheLastOnesAreServedBeforeItEnds) {
  Gate gate;
  HoldPasses(gate);
  Start();
  const auto asked = Ask(OfLength(10));
  std::thread end([this] { engine_.reset(); });
  gate.Open();
  EXPECT_TRUE(asked->Await().ok());
  end.join();
}

}  // namespace
}  // namespace diptych::language
