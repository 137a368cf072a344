// A question whose replica is lost, stopped, draining or full is asked of another replica.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "common/error_details.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::gateway {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::FinishedMessage;
using testing::StartedMessage;
using Writer = FakeLanguageTier::Writer;

class AskRetryRpcTest : public GatewayFixture {};

// How the calls end of a replica that is stopped by force.
const grpc::Status kStopped(grpc::StatusCode::CANCELLED, "");

TEST_F(AskRetryRpcTest, AUnaryQuestionIsRepeatedEvenAfterTextHadCome) {
  FakeLanguageTier language([](int call, auto*, const auto& request, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", 5));
    if (call < 3) return kReplicaGone;
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const auto answer = Ask(TextQuestion());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text(), "a red circle");
  EXPECT_EQ(language.calls(), 3);
}

TEST_F(AskRetryRpcTest, AStreamThatHasNotBegunIsRepeatedAndStartsOnce) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    if (call == 1) return kReplicaGone;
    writer->Write(DeltaMessage("a red circle", 5));
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  ASSERT_EQ(stream.events.size(), 3u);
  EXPECT_TRUE(stream.events[0].has_started());
  EXPECT_TRUE(stream.events[1].has_delta());
}

// As where the connections of all replicas are reset one soon after the other.
TEST_F(AskRetryRpcTest, ReplicasThatAreBackInAMomentAreWaitedFor) {
  SteadyTime back;
  FakeLanguageTier language([&](int call, auto*, const auto&, Writer* writer) {
    if (call == 1) back = SteadyClock::now() + std::chrono::milliseconds(100);
    if (SteadyClock::now() < back) return kReplicaGone;
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("a"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const auto answer = Ask(TextQuestion());
  EXPECT_TRUE(answer.ok()) << answer.status();
}

TEST_F(AskRetryRpcTest, WhereThereIsNoReplicaTheNextOneIsWaitedFor) {
  FakeLanguageTier language;
  StartGateway(language.target());
  ASSERT_TRUE(Ask(TextQuestion()).ok());
  language.SetServing(false);
  std::atomic<bool> is_back = false;
  std::thread back([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    is_back = true;
    language.SetServing(true);
  });
  while (!is_back) {
    const auto answer = Ask(TextQuestion());
    EXPECT_TRUE(answer.ok()) << answer.status();
  }
  back.join();
}

TEST_F(AskRetryRpcTest, WhereThereHasBeenNoReplicaForLongCallersAreToldSoon) {
  FakeLanguageTier language;
  StartGateway(language.target(), {.metrics_listen = "127.0.0.1:0"});
  const auto repeats = [this] { return testing::Scrape(gateway_->metrics_port()).Total("diptych_retries_total"); };
  language.SetServing(false);
  while (Ask(TextQuestion()).ok()) continue;
  const double before = repeats();
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierUnavailable);
  EXPECT_LT(repeats() - before, 3);
}

TEST_F(AskRetryRpcTest, BeamsAreAskedForAgainUnseen) {
  FakeLanguageTier language([](int call, auto*, const v1::GenerateRequest& request, Writer* writer) {
    EXPECT_EQ(request.begun_token_ids_size(), 0);
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red circle", 5));
    if (call == 1) return kReplicaGone;
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.mutable_generation()->set_num_beams(3);
  const Stream stream = AskStream(question);
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(stream.events.size(), 3u);
  EXPECT_EQ(stream.Text(), "a red circle");
}

TEST_F(AskRetryRpcTest, AnAnswerThatIsWholeStandsThoughItsReplicaIsLost) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red circle", 5));
    writer->Write(FinishedMessage("a red circle"));
    return kReplicaGone;
  });
  StartGateway(language.target());
  EXPECT_TRUE(AskStream(TextQuestion()).status.ok());
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  EXPECT_EQ(language.calls(), 2);
}

TEST_F(AskRetryRpcTest, AReplicaThatDrainsHandsTheQuestionOn) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call == 1) {
      return ToGrpcStatus(
          RetryLater(absl::StatusCode::kUnavailable, reason::kDraining, "shutting down", absl::Seconds(1)));
    }
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("text"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_TRUE(Ask(TextQuestion()).ok());
}

TEST_F(AskRetryRpcTest, AReplicaStoppedByForceHandsTheQuestionOn) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call % 2 == 1) return kStopped;
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  EXPECT_TRUE(AskStream(TextQuestion()).status.ok());
  EXPECT_EQ(language.calls(), 4);
}

TEST_F(AskRetryRpcTest, AQuestionThatFindsAReplicaFullTriesOthersAndThenSaysSo) {
  int room_at = 3;
  FakeLanguageTier language([&room_at](int call, auto*, const auto&, Writer* writer) {
    if (call < room_at) return ReplicaFull();
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  room_at = 1000;
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kQueueFull);
  EXPECT_EQ(language.calls(), 6);
}

TEST_F(AskRetryRpcTest, ATierThatIsAlwaysFullIsSoonAskedOnceForEachQuestion) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer*) { return ReplicaFull(); });
  StartGateway(language.target(), {.max_inflight = 16});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kQueueFull);
  EXPECT_LT(language.calls(), 160) << "100, a fifth of it, the reserve, and one for each second";
}

TEST_F(AskRetryRpcTest, GivesUpAfterThreeAttempts) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer*) { return kReplicaGone; });
  StartGateway(language.target());
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierUnavailable);
  EXPECT_EQ(language.calls(), 3);
}

}  // namespace
}  // namespace diptych::gateway
