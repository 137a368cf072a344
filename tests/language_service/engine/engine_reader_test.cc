// Readers of the language engine's answers: slow ones, and ones whose callbacks take long.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <thread>
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
using testing::OfLength;

class EngineReaderTest : public testing::EngineFixture {};

TEST_F(EngineReaderTest, AReaderThatTakesNothingIsPausedAndOthersAreNot) {
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

TEST_F(EngineReaderTest, AReaderThatTakesNothingForLongIsGivenUp) {
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

TEST_F(EngineReaderTest, PassesGoOnWhileAReaderIsBeingCalled) {
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

}  // namespace
}  // namespace diptych::language
