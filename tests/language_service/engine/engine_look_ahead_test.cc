// The language engine where the model chooses tokens, as on a card: the next step begins before they are known.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "blip2/decoding/batch_choice.h"
#include "common/status.h"
#include "language_service/engine/engine.h"
#include "tests/language_service/before_relevance.h"
#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/gate.h"
#include "tests/testing/stage_sum.h"

namespace diptych::language {
namespace {

using testing::Asked;
using testing::EngineQuestion;
using testing::Gate;
using testing::IdsOf;
using testing::OfLength;

class EngineLookAheadTest : public testing::EngineFixture {
 protected:
  // Engines that start from now on have tokens chosen by the model. The letters of order_: a step starts, its tokens
  // are chosen, they are read.
  void RunAhead() {
    BeforeEachPass([this](std::span<const blip2::DecoderRow>) { order_.Note('s'); });
    model_.begin_choice = [this](std::span<const blip2::RowChoice> rows) {
      order_.Note('c');
      blip2::PendingChoice choice = blip2::BeginChoice(rows);
      choice.read = [this, read = choice.read] {
        order_.Note('r');
        if (before_read_) before_read_();
        return read();
      };
      return choice;
    };
  }

  absl::StatusOr<GenerateResult> Answer(const EngineQuestion& question) { return Ask(question)->Await(); }

  // Of an engine that reads each token before it goes on.
  std::vector<int64_t> Sequential(const EngineQuestion& question) {
    Start();
    const auto result = Answer(question);
    EXPECT_TRUE(result.ok()) << result.status();
    engine_.reset();
    return result.ok() ? IdsOf(*result) : std::vector<int64_t>();
  }

  std::string OrderOf(const EngineQuestion& question) {
    Start();
    EXPECT_TRUE(Answer(question).ok());
    engine_.reset();
    return order_.letters();
  }

  testing::Order order_;
  std::function<void()> before_read_;  // on the engine thread
};

TEST_F(EngineLookAheadTest, AStepBeginsBeforeTheTokensOfTheLastOneAreRead) {
  RunAhead();
  EXPECT_EQ(OrderOf(OfLength(4)), "scscrscrscrr");
}

TEST_F(EngineLookAheadTest, ALastTokenThatCanBeForeseenHasNoStepAfterIt) {
  RunAhead();
  EXPECT_EQ(OrderOf(OfLength(1)), "scr");
}

TEST_F(EngineLookAheadTest, WhatDependsOnTheTokenItselfWaitsForIt) {
  RunAhead();
  EngineQuestion question = OfLength(3);
  question.options.presence_penalty = 1;
  EXPECT_EQ(OrderOf(question), "scrscrscr");
}

TEST_F(EngineLookAheadTest, BeamsReadTheirScoresThemselves) {
  RunAhead();
  EngineQuestion question = OfLength(3);
  question.options.num_beams = 2;
  EXPECT_EQ(OrderOf(question), "sss");
}

TEST_F(EngineLookAheadTest, AnAnswerMayEndAnywhere) {
  const EngineQuestion question = {.options = {.max_new_tokens = 20, .temperature = 2, .seed = 3, .ignore_eos = true}};
  const std::vector<int64_t> ids = Sequential(question);
  ASSERT_EQ(ids.size(), 20u);
  RunAhead();
  Start();
  for (size_t end = 0; end < ids.size(); ++end) {
    EngineQuestion stopped = question;
    stopped.options.stop_token_ids = {ids[end]};
    const size_t first = std::find(ids.begin(), ids.end(), ids[end]) - ids.begin();
    const auto result = Answer(stopped);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(IdsOf(*result), std::vector<int64_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(first) + 1));
    EXPECT_EQ(testing::StageSum(result->timings), FromProtoDuration(result->timings.total()));
  }
  const auto whole = Answer(question);
  EXPECT_EQ(IdsOf(*whole), ids) << "what was begun for those that had ended is in no one's way";
  engine_.reset();
}

TEST_F(EngineLookAheadTest, ACancelFreesEverythingWhileAStepRuns) {
  const std::vector<int64_t> ids = Sequential(OfLength(20));
  RunAhead();
  Gate gate;
  before_read_ = [&] { gate.Pass(); };
  Start({}, /*blocks=*/12);
  const auto cancelled = Ask(OfLength(20));
  const auto beside = Ask(OfLength(20, "a dog"));
  gate.AwaitArrivals(1);
  cancelled->Cancel();
  gate.Open();
  EXPECT_TRUE(absl::IsCancelled(cancelled->Await().status()));
  EXPECT_TRUE(beside->Await().ok());
  ExpectNothingHeld();
  EXPECT_EQ(IdsOf(*Answer(OfLength(20))), ids);
  engine_.reset();
}

TEST_F(EngineLookAheadTest, TokensThatCannotBeReadFailThoseOfTheirStepAlone) {
  const std::vector<int64_t> ids = Sequential(OfLength(9));
  RunAhead();
  int reads = 0;
  before_read_ = [&] {
    if (++reads == 3) throw std::runtime_error("secret of the library");
  };
  Start();
  EXPECT_EQ(Answer(OfLength(9)).status().code(), absl::StatusCode::kInternal);
  ExpectNothingHeld();
  EXPECT_EQ(IdsOf(*Answer(OfLength(9))), ids);
  EXPECT_TRUE(engine_->health().ok());
  engine_.reset();
}

TEST_F(EngineLookAheadTest, AStepThatCannotStartIsRunAgainOneByOne) {
  const std::vector<int64_t> ids = Sequential(OfLength(12));
  RunAhead();
  BeforeEachPass([](std::span<const blip2::DecoderRow> rows) {
    if (rows.size() > 1) throw std::runtime_error("no room for so many");
  });
  Start();
  std::vector<std::unique_ptr<Asked>> asked;
  for (int i = 0; i < 4; ++i) asked.push_back(Ask(OfLength(12)));
  for (const auto& one : asked) EXPECT_EQ(IdsOf(*one->Await()), ids);
  ExpectNothingHeld();
}

TEST_F(EngineLookAheadTest, ALostDeviceEndsAllThatRuns) {
  RunAhead();
  before_read_ = [] {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700, "CUDA error: an illegal memory access");
  };
  Start();
  EXPECT_TRUE(IsDeviceLost(Answer(OfLength(9)).status()));
  EXPECT_FALSE(engine_->health().ok());
}

TEST_F(EngineLookAheadTest, ASlowReaderIsPausedAndGetsItsTokens) {
  const std::vector<int64_t> ids = Sequential(OfLength(40));
  RunAhead();
  Start({.max_unread_tokens = 4});
  const auto slow = Ask(OfLength(40), SteadyTime::max(), /*reads=*/false);
  Until([](const EngineStats& stats) { return stats.generated_tokens >= 5 && stats.requests_running == 0; });
  EXPECT_TRUE(Answer(OfLength(40, "a dog")).ok());
  slow->Read();
  EXPECT_EQ(IdsOf(*slow->Await()), ids);
  ExpectNothingHeld();
}

TEST_F(EngineLookAheadTest, AnAnswerIsExplainedOnceItsTokensAreRead) {
  RunAhead();
  testing::BeforeRelevance(model_, [this] { order_.Note('x'); });
  Start();
  EngineQuestion question = OfLength(2);
  question.images = {Image("a")};
  question.relevance = true;
  const auto beside = Ask(OfLength(20));
  const auto result = Answer(question);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->relevance.has_value());
  EXPECT_TRUE(beside->Await().ok());
  engine_.reset();
  EXPECT_NE(order_.letters().find("rx"), std::string::npos) << order_.letters();
}

}  // namespace
}  // namespace diptych::language
