// The language engine: batches, shared prefixes, cancels, failures, readers.
#include "language_service/engine/engine.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "common/status.h"
#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/gate.h"

namespace diptych::language {
namespace {

using testing::EngineQuestion;
using testing::Gate;
using testing::IdsOf;
using testing::OfLength;

constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

class EngineTest : public testing::EngineFixture {
 protected:
  // Every pass waits at `gate`.
  void HoldPasses(Gate& gate) {
    BeforeEachPass([&gate](std::span<const blip2::DecoderRow>) { gate.Pass(); });
  }

  static EngineQuestion WithLogprobs(EngineQuestion question) {
    question.options.logprobs = 1;
    return question;
  }
};

std::vector<float> LogprobsOf(const GenerateResult& result) {
  std::vector<float> logprobs;
  for (const blip2::ChosenToken& token : result.tokens) logprobs.push_back(token.logprob);
  return logprobs;
}

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

TEST_F(EngineTest, ACancelFreesEverythingWhereverTheRequestIs) {
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

TEST_F(EngineTest, ACancelIsSeenBeforeTheNextPass) {
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

TEST_F(EngineTest, ADeadlineThatPassesIsNamedWithItsStage) {
  Start();
  const auto late = Ask(OfLength(3), SteadyClock::now());
  EXPECT_EQ(late->Await().status(), DeadlinePassed(Stage::kLanguageQueue));
  EXPECT_EQ(engine_->stats().passes, 0);
}

TEST_F(EngineTest, AFailingRowFailsItsRequestAloneInABatch) {
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

TEST_F(EngineTest, AImageOfNotANumberFailsItsRequestsAndIsNeverShared) {
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

TEST_F(EngineTest, TheAnswerAfterAFailureIsBitEqualToTheOneBefore) {
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

TEST_F(EngineTest, AReaderThatTakesNothingIsPausedAndOthersAreNot) {
  Start({.max_unread_tokens = 4});
  const EngineQuestion question = OfLength(40);
  const auto slow = Ask(question, SteadyTime::max(), /*reads=*/false);
  Until([](const EngineStats& stats) { return stats.generated_tokens >= 5 && stats.requests_running == 0; });
  EXPECT_EQ(slow->unread(), 5);
  EXPECT_EQ(engine_->stats().kv_blocks_used, 0);
  const auto expected = Ask(question)->Await();
  ASSERT_TRUE(expected.ok()) << "another with the same question";
  EXPECT_EQ(slow->unread(), 5);
  slow->Read();
  const auto result = slow->Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(IdsOf(*result), IdsOf(*expected));
  EXPECT_FALSE(slow->given_up());
  ExpectNothingHeld();
}

TEST_F(EngineTest, AReaderThatTakesNothingForLongIsGivenUp) {
  Start({.max_unread_tokens = 4, .reader_patience = SteadyDuration::zero()});
  const auto slow = Ask(OfLength(40), SteadyTime::max(), /*reads=*/false);
  Until([](const EngineStats& stats) { return stats.slow_readers == 1 && stats.requests_waiting == 0; });
  ExpectNothingHeld();
  slow->Read();
  const absl::Status status = slow->Await().status();
  EXPECT_TRUE(slow->given_up());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), reason::kSlowReader);
  EXPECT_TRUE(RetryAfterOf(status).has_value());
}

TEST_F(EngineTest, PassesGoOnWhileAReaderIsBeingCalled) {
  std::atomic<std::thread::id> engine_thread, reader_thread;
  BeforeEachPass([&](auto) { engine_thread = std::this_thread::get_id(); });
  Start();
  Gate gate;
  testing::Asked asked(SteadyTime::max(), /*reads=*/false);
  GenerateWork work = asked.Work(OfLength(9), model_);
  std::vector<size_t> deltas;
  std::promise<absl::StatusOr<GenerateResult>> end;
  std::shared_ptr<TokenStream> stream;
  stream = std::make_shared<TokenStream>(TokenStream::Reader{.on_delta =
                                                                 [&](const TokenDelta& delta) {
                                                                   reader_thread = std::this_thread::get_id();
                                                                   deltas.push_back(delta.tokens.size());
                                                                   gate.Pass();
                                                                   stream->Next();
                                                                 },
                                                             .on_end = [&](auto result) { end.set_value(result); }});
  stream->Next();
  work.stream = stream;
  engine_->Submit(std::move(work));
  Until([](const EngineStats& stats) { return stats.generated_tokens == 9 && stats.requests_running == 0; });
  gate.AwaitArrivals(1);
  gate.Open();
  const auto result = end.get_future().get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LE(deltas.size(), 2u) << "what came while the first delta was being taken is one";
  EXPECT_EQ(std::accumulate(deltas.begin(), deltas.end(), size_t{0}), 9u);
  EXPECT_NE(reader_thread.load(), engine_thread.load());
  engine_.reset();
}

TEST_F(EngineTest, BetweenTwoPassesAsManyImagesAreProjectedAsOnePassReads) {
  Gate gate;
  std::mutex mutex;
  std::string order;
  const auto note = [&](char what) {
    std::lock_guard lock(mutex);
    order += what;
  };
  BeforeEachPass([&](std::span<const blip2::DecoderRow>) {
    gate.Pass();
    note('d');
  });
  model_.project = [&](const at::Tensor& tokens) {
    note('p');
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
  EXPECT_EQ(order.find("dpppdpppd"), 0u) << order;
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

EngineQuestion WithRelevance(EngineQuestion question, const std::shared_ptr<const QueryTokens>& image) {
  question.images = {image};
  question.relevance = true;
  return question;
}

TEST_F(EngineTest, BetweenTwoPassesAtMostOneAnswerIsExplained) {
  Gate gate;
  std::mutex mutex;
  std::string order;
  const auto note = [&](char what) {
    std::lock_guard lock(mutex);
    order += what;
  };
  BeforeEachPass([&](std::span<const blip2::DecoderRow>) {
    gate.Pass();
    note('d');
  });
  model_.attention_to_prefix = [&, attend = model_.attention_to_prefix](auto&&... arguments) {
    note('r');
    return attend(arguments...);
  };
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
  EXPECT_EQ(order.find("rr"), std::string::npos) << order;
  EXPECT_EQ(std::count(order.begin(), order.end(), 'r'), 5);
  ExpectNothingHeld();
}

TEST_F(EngineTest, AnAnswerThatWaitsForItsRelevanceHoldsNoBlocks) {
  Gate gate;
  model_.attention_to_prefix = [&, attend = model_.attention_to_prefix](auto&&... arguments) {
    gate.Pass();
    return attend(arguments...);
  };
  Start();
  const auto asked = Ask(WithRelevance(OfLength(3), Image("a")));
  gate.AwaitArrivals(1);
  EXPECT_EQ(engine_->stats().kv_blocks_used, 0);
  EXPECT_EQ(engine_->stats().requests_running, 0);
  EXPECT_EQ(engine_->stats().requests_waiting, 1);
  gate.Open();
  EXPECT_TRUE(asked->Await().ok());
}

TEST_F(EngineTest, ACancelEndsTheWaitForRelevance) {
  Gate gate;
  std::atomic<int> explained = 0;
  model_.attention_to_prefix = [&, attend = model_.attention_to_prefix](auto&&... arguments) {
    ++explained;
    gate.Pass();
    return attend(arguments...);
  };
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

TEST_F(EngineTest, ADeadlineEndsTheWaitForRelevance) {
  Gate gate;
  model_.attention_to_prefix = [&, attend = model_.attention_to_prefix](auto&&... arguments) {
    gate.Pass();
    return attend(arguments...);
  };
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

TEST_F(EngineTest, RelevanceThatFailsOrIsNotFiniteFailsThatRequestAlone) {
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

TEST_F(EngineTest, TheEngineEndsOnlyWhenAllAnswersAreExplained) {
  Start();
  const auto asked = Ask(WithRelevance(OfLength(5), Image("a")));
  engine_.reset();
  const auto result = asked->Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->relevance.has_value());
}

}  // namespace
}  // namespace diptych::language
