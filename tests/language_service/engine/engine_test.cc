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

// Visual tokens [1, Dv], all the same number.
VisualTokens OneToken(float number, int width) {
  const std::vector<float> numbers(width, number);
  return {.bytes = std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)),
          .dtype = v1::NUMBER_TYPE_FLOAT32,
          .tokens = 1,
          .width = width,
          .timings = {}};
}

// As the engine has them all at once: the first numbers of their query tokens, or what went wrong.
class ProjectionsOnACardTest : public EngineTest {
 protected:
  struct Image {
    VisualTokens tokens;
    bool with_attention = false;
  };

  std::vector<absl::StatusOr<float>> Project(const std::vector<Image>& images) {
    model_.description.set_device("cuda:0");
    Gate gate;
    HoldPasses(gate);
    Start();
    const auto busy = Ask(OfLength(2));
    gate.AwaitArrivals(1);
    std::vector<std::promise<absl::StatusOr<float>>> promises(images.size());
    for (size_t i = 0; i < images.size(); ++i) {
      engine_->Project(images[i].tokens, "key", images[i].with_attention, [&, i](auto image) {
        promises[i].set_value(image.ok()
                                  ? absl::StatusOr<float>((*image)->query_tokens.flatten()[0].template item<float>())
                                  : image.status());
      });
    }
    gate.Open();
    std::vector<absl::StatusOr<float>> numbers;
    for (auto& promise : promises) numbers.push_back(promise.get_future().get());
    EXPECT_TRUE(busy->Await().ok());
    return numbers;
  }

  // Notes how many images each pass of the Q-Former read; `work` may throw.
  void OnEachPass(std::function<void(const at::Tensor& tokens)> work) {
    model_.project = [this, work = std::move(work)](const at::Tensor& tokens) {
      passes_.push_back(tokens.size(0));
      work(tokens);
      return (tokens.mean({1, 2}, /*keepdim=*/true) * 2).expand({-1, 4, 32}).contiguous();
    };
    model_.analyze_projection = [this](const at::Tensor& tokens) {
      passes_.push_back(-tokens.size(0));
      return ProjectionAnalysis{.query_tokens = at::ones({1, 4, 32}), .cross_attention = at::ones({1, 4, 1})};
    };
  }

  std::vector<int64_t> passes_;
};

TEST_F(ProjectionsOnACardTest, ImagesThatAreAlikeShareAPass) {
  OnEachPass([](const at::Tensor&) {});
  std::vector<Image> images;
  for (const float number : {1, 2, 3, 4, 5}) images.push_back({.tokens = OneToken(number, 3)});
  images.push_back({.tokens = OneToken(6, 2)});
  images.push_back({.tokens = OneToken(7, 2), .with_attention = true});
  images.push_back({.tokens = OneToken(8, 2)});
  const auto numbers = Project(images);
  EXPECT_EQ(passes_, (std::vector<int64_t>{5, 1, -1, 1}));
  const std::vector<float> expected = {2, 4, 6, 8, 10, 12, 1, 16};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(*numbers[i], expected[i]) << i;
  EXPECT_EQ(engine_->stats().projections, 8);
}

TEST_F(ProjectionsOnACardTest, AnImageThatIsNotFiniteFailsNoOther) {
  OnEachPass([](const at::Tensor&) {});
  const auto numbers = Project({{OneToken(1, 3)}, {OneToken(kNotANumber, 3)}, {OneToken(3, 3)}});
  EXPECT_EQ(passes_, std::vector<int64_t>{3});
  EXPECT_EQ(*numbers[0], 2);
  EXPECT_EQ(numbers[1].status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(*numbers[2], 6);
}

TEST_F(ProjectionsOnACardTest, APassThatFailsIsRepeatedImageByImage) {
  OnEachPass([](const at::Tensor& tokens) {
    if (tokens.eq(2).any().item<bool>()) throw std::runtime_error("no");
  });
  const auto numbers = Project({{OneToken(1, 3)}, {OneToken(2, 3)}, {OneToken(3, 3)}});
  EXPECT_EQ(passes_, (std::vector<int64_t>{3, 1, 1, 1}));
  EXPECT_EQ(*numbers[0], 2);
  EXPECT_EQ(numbers[1].status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(*numbers[2], 6);
}

// On the CPU, where every row has the same bits in every batch, an image has a pass of its own.
TEST_F(EngineTest, OnTheCpuEachImageHasItsOwnPass) {
  std::vector<int64_t> passes;
  model_.project = [&](const at::Tensor& tokens) {
    passes.push_back(tokens.size(0));
    return at::zeros({1, 4, 32});
  };
  Start();
  std::vector<std::promise<bool>> projected(3);
  for (auto& promise : projected) {
    engine_->Project(OneToken(1, 3), "key", /*with_attention=*/false,
                     [&promise](auto image) { promise.set_value(image.ok()); });
  }
  for (auto& promise : projected) EXPECT_TRUE(promise.get_future().get());
  EXPECT_EQ(passes, (std::vector<int64_t>{1, 1, 1}));
}

TEST_F(EngineTest, AProjectionThatFailsOrIsNotFiniteIsAnError) {
  const auto status = [&](std::function<at::Tensor(const at::Tensor&)> project, bool with_attention) {
    model_.project = project;
    model_.analyze_projection = [project](const at::Tensor& tokens) {
      return ProjectionAnalysis{.query_tokens = project(tokens), .cross_attention = at::ones({1, 4, 1})};
    };
    Start();
    std::promise<absl::Status> promise;
    engine_->Project(
        {.bytes = std::string(4, '\0'), .dtype = v1::NUMBER_TYPE_FLOAT32, .tokens = 1, .width = 1, .timings = {}},
        "key", with_attention, [&promise](auto image) { promise.set_value(image.status()); });
    return promise.get_future().get();
  };
  const auto throws = [](const at::Tensor&) -> at::Tensor { throw std::runtime_error("no"); };
  const auto not_finite = [](const at::Tensor&) { return at::full({1, 4, 32}, kNotANumber); };
  for (const bool with_attention : {false, true}) {
    EXPECT_EQ(status(throws, with_attention).code(), absl::StatusCode::kInternal) << with_attention;
    EXPECT_EQ(status(not_finite, with_attention).code(), absl::StatusCode::kInternal) << with_attention;
  }
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
