// Requests in the language engine that are cancelled, late or fail, and those next to them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "common/status.h"
#include "language_service/engine/engine.h"
#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/gate.h"

namespace diptych::language {
namespace {

using testing::EngineQuestion;
using testing::Gate;
using testing::IdsOf;
using testing::kNotANumber;
using testing::OfLength;

class EngineFailureTest : public testing::EngineFixture {};

EngineQuestion WithLogprobs(EngineQuestion question) {
  question.options.logprobs = 1;
  return question;
}

std::vector<float> LogprobsOf(const GenerateResult& result) {
  std::vector<float> logprobs;
  for (const blip2::ChosenToken& token : result.tokens) logprobs.push_back(token.logprob);
  return logprobs;
}

TEST_F(EngineFailureTest, ACancelFreesEverythingWhereverTheRequestIs) {
  Gate gate;
  HoldPasses(gate);
  Start({.max_batch = 2, .max_batched_tokens = 8});
  const auto decoding = Ask(OfLength(50));
  gate.AwaitArrivals(1);
  const auto prefilling = Ask(OfLength(20, std::string(60, 'x')));  // many chunks
  const auto waiting = Ask(OfLength(20));
  gate.Open();
  Until([](const EngineStats& stats) { return stats.passes > 4; });
  for (const auto* asked : {&decoding, &prefilling, &waiting}) (*asked)->Cancel();
  for (const auto* asked : {&decoding, &prefilling, &waiting}) {
    const absl::Status status = (*asked)->Await().status();
    EXPECT_TRUE(absl::IsCancelled(status) || status.ok()) << status;
  }
  ExpectNothingHeld();
}

TEST_F(EngineFailureTest, ACancelIsSeenBeforeTheNextPass) {
  Gate gate;
  HoldPasses(gate);
  Start();
  const auto running = Ask(OfLength(50));
  gate.AwaitArrivals(1);
  const auto waiting = Ask(OfLength(50));
  running->Cancel();
  waiting->Cancel();
  gate.Open();
  EXPECT_EQ(running->Await().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(waiting->Await().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(gate.arrived(), 1);
  ExpectNothingHeld();
}

TEST_F(EngineFailureTest, ADeadlineThatPassesIsNamedWithItsStage) {
  Start();
  const auto late = Ask(OfLength(3), SteadyClock::now());
  EXPECT_EQ(late->Await().status(), DeadlinePassed(Stage::kLanguageQueue));
  EXPECT_EQ(engine_->stats().passes, 0);
}

TEST_F(EngineFailureTest, AFailingRowFailsItsRequestAloneInABatch) {
  Gate gate;
  HoldPasses(gate);
  BeforeEachPass([](std::span<const blip2::DecoderRow> rows) {
    for (const blip2::DecoderRow& row : rows) {
      if (row.embeddings.size(0) == 6) throw std::runtime_error("secret of the library");  // the prompt "abcde"
    }
  });
  Start();
  const auto alone = Ask(WithLogprobs(OfLength(12)));
  gate.Open();
  const auto expected = alone->Await();
  ASSERT_TRUE(expected.ok());
  const auto good = Ask(WithLogprobs(OfLength(12)));
  const auto bad = Ask(OfLength(12, "abcde"));
  EXPECT_EQ(bad->Await().status().code(), absl::StatusCode::kInternal);
  const auto result = good->Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(IdsOf(*result), IdsOf(*expected));
  EXPECT_EQ(engine_->stats().failed_requests, 1);
  ExpectNothingHeld();
}

TEST_F(EngineFailureTest, AnImageOfNotANumberFailsItsRequestsAndIsNeverShared) {
  Start({}, /*blocks=*/12);  // few, so that the poisoned ones are used again
  const EngineQuestion question = WithLogprobs({.text = "the cat", .images = {Image("a")}});
  const auto before = Ask(question)->Await();
  ASSERT_TRUE(before.ok());
  EngineQuestion poisoned = question;
  poisoned.images = {std::make_shared<const QueryTokens>(
      QueryTokens{.key = "poison", .query_tokens = at::full_like(Image("a")->query_tokens, kNotANumber)})};
  for (int i = 0; i < 3; ++i) {
    const auto beside = Ask(question);
    EXPECT_EQ(Ask(poisoned)->Await().status().code(), absl::StatusCode::kInternal);
    EXPECT_TRUE(beside->Await().ok());
  }
  const auto after = Ask(question)->Await();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(IdsOf(*after), IdsOf(*before));
  EXPECT_EQ(engine_->stats().failed_requests, 3);
  ExpectNothingHeld();
}

TEST_F(EngineFailureTest, TheAnswerAfterAFailureIsBitEqualToTheOneBefore) {
  bool poison = false;
  model_.forward = [&, forward = model_.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
    const at::Tensor logits = forward(rows, pool);
    return poison ? logits * kNotANumber : logits;
  };
  const auto ask = [&] { return Ask(WithLogprobs(OfLength(20)))->Await(); };
  Start();
  const auto before = ask();
  Start();
  poison = true;
  EXPECT_EQ(ask().status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(engine_->stats().kv_blocks_cached, 0) << "what gave such scores is not kept";
  poison = false;
  const auto after = ask();
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(LogprobsOf(*after), LogprobsOf(*before));
}

}  // namespace
}  // namespace diptych::language
