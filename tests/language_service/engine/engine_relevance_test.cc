// Answers whose relevance is asked for, in the language engine.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "language_service/engine/engine.h"
#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/gate.h"

namespace diptych::language {
namespace {

using testing::EngineQuestion;
using testing::Gate;
using testing::kNotANumber;
using testing::OfLength;

class EngineRelevanceTest : public testing::EngineFixture {};

EngineQuestion WithRelevance(EngineQuestion question, const std::shared_ptr<const QueryTokens>& image) {
  question.images = {image};
  question.relevance = true;
  return question;
}

TEST_F(EngineRelevanceTest, BetweenTwoPassesAtMostOneAnswerIsExplained) {
  Gate gate;
  testing::Order order;
  HoldPasses(gate, order);
  testing::BeforeRelevance(model_, [&] { order.Note('r'); });
  Start();
  const auto stream = Ask(OfLength(20));
  gate.AwaitArrivals(1);
  std::vector<std::unique_ptr<testing::Asked>> explained;
  for (int i = 0; i < 5; ++i) explained.push_back(Ask(WithRelevance(OfLength(3), Image("a"))));
  gate.Open();
  for (const auto& asked : explained) {
    const auto result = asked->Await();
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(result->relevance.has_value());
    EXPECT_EQ(result->relevance->images[0].sizes(), (std::vector<int64_t>{3, 4}));
    EXPECT_LT((result->relevance->images[0] - 0.2).abs().max().item<float>(), 1e-6);
    EXPECT_GT(result->relevance->image_share.min().item<float>(), 0);
    EXPECT_LT(result->relevance->image_share.max().item<float>(), 1);
  }
  EXPECT_TRUE(stream->Await().ok());
  const std::string letters = order.letters();
  EXPECT_EQ(letters.find("rr"), std::string::npos) << letters;
  EXPECT_EQ(std::count(letters.begin(), letters.end(), 'r'), 5);
  ExpectNothingHeld();
}

// 'r' stands for a piece and 'd' for a pass of the others.
TEST_F(EngineRelevanceTest, BetweenTwoPassesOneLayerReadsNoMoreTokensThanAPass) {
  constexpr int64_t kMostTokens = 8, kAnswer = 30;
  testing::Order order;
  Gate gate;
  HoldPasses(gate, order);
  int64_t length = 0, most = 0;
  model_.attention_to_prefix = [&, attend = model_.attention_to_prefix](const at::Tensor& embeddings, int64_t first,
                                                                        int64_t prefix, blip2::Pieces pieces) {
    length = embeddings.size(0);
    most = pieces.tokens;
    order.Note('r');
    pieces.go_on = [&, go_on = pieces.go_on] {
      const bool on = go_on();
      order.Note('r');
      return on;
    };
    return attend(embeddings, first, prefix, pieces);
  };
  Start({.max_batch = 2, .max_batched_tokens = kMostTokens});
  const auto stream = Ask(OfLength(100));
  gate.AwaitArrivals(1);
  const auto explained = Ask(WithRelevance(OfLength(kAnswer), Image("a")));
  gate.Open();
  ASSERT_TRUE(explained->Await().ok());
  ASSERT_TRUE(stream->Await().ok());
  EXPECT_EQ(most, kMostTokens);
  const std::string letters = order.letters();
  EXPECT_EQ(letters.find("rr"), std::string::npos) << letters;
  EXPECT_EQ(std::count(letters.begin(), letters.end(), 'r'),
            model_.config.text.num_hidden_layers * ((length + kMostTokens - 1) / kMostTokens));
  ExpectNothingHeld();
}

TEST_F(EngineRelevanceTest, AnAnswerThatWaitsForItsRelevanceHoldsNoBlocks) {
  Gate gate;
  testing::BeforeRelevance(model_, [&] { gate.Pass(); });
  Start();
  const auto asked = Ask(WithRelevance(OfLength(3), Image("a")));
  gate.AwaitArrivals(1);
  EXPECT_EQ(engine_->stats().kv_blocks_used, 0);
  EXPECT_EQ(engine_->stats().requests_running, 0);
  EXPECT_EQ(engine_->stats().requests_waiting, 1);
  gate.Open();
  EXPECT_TRUE(asked->Await().ok());
}

TEST_F(EngineRelevanceTest, ACancelEndsTheWaitForRelevance) {
  Gate gate;
  std::atomic<int> explained = 0;
  testing::BeforeRelevance(model_, [&] {
    ++explained;
    gate.Pass();
  });
  Start({.max_batch = 2});
  const auto first = Ask(WithRelevance(OfLength(2), Image("a")));
  const auto second = Ask(WithRelevance(OfLength(2), Image("a")));
  gate.AwaitArrivals(1);
  second->Cancel();
  gate.Open();
  EXPECT_TRUE(first->Await().ok());
  EXPECT_EQ(second->Await().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(explained, 1);
  ExpectNothingHeld();
}

TEST_F(EngineRelevanceTest, ADeadlineEndsTheWaitForRelevance) {
  Gate gate;
  testing::BeforeRelevance(model_, [&] { gate.Pass(); });
  Start();
  const auto first = Ask(WithRelevance(OfLength(2), Image("a")));
  const SteadyTime deadline = SteadyClock::now() + std::chrono::milliseconds(300);
  const auto second = Ask(WithRelevance(OfLength(2), Image("a")), deadline);
  gate.AwaitArrivals(1);
  while (SteadyClock::now() < deadline) std::this_thread::yield();
  gate.Open();
  EXPECT_TRUE(first->Await().ok());
  EXPECT_EQ(second->Await().status().code(), absl::StatusCode::kDeadlineExceeded);
  ExpectNothingHeld();
}

TEST_F(EngineRelevanceTest, RelevanceThatFailsOrIsNotFiniteFailsThatRequestAlone) {
  bool throws = true;
  model_.attention_to_prefix = [&](const at::Tensor& embeddings, int64_t first, int64_t prefix, auto&&) -> at::Tensor {
    if (throws) throw std::runtime_error("secret of the library");
    return at::full({embeddings.size(0) - first, prefix}, kNotANumber);
  };
  for (const bool how : {true, false}) {
    throws = how;
    Start();
    const auto failing = Ask(WithRelevance(OfLength(3), Image("a")));
    const auto other = Ask(OfLength(9));
    const absl::Status status = failing->Await().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(status.message().find("secret"), absl::string_view::npos);
    EXPECT_TRUE(other->Await().ok());
    ExpectNothingHeld();
  }
}

TEST_F(EngineRelevanceTest, TheEngineEndsOnlyWhenAllAnswersAreExplained) {
  Start();
  const auto asked = Ask(WithRelevance(OfLength(5), Image("a")));
  engine_.reset();
  const auto result = asked->Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->relevance.has_value());
}

}  // namespace
}  // namespace diptych::language
