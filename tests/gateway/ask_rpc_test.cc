// Ask and AskStream through the RPC: relaying, repeating on another replica, cancelling, deadlines.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "common/error_details.h"
#include "tests/gateway/gateway_fixture.h"

namespace diptych::gateway {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::FinishedMessage;
using testing::StartedMessage;
using Writer = FakeLanguageTier::Writer;

class AskRpcTest : public GatewayFixture {};

// A replica that is stopped by force ends its calls so.
const grpc::Status kStopped(grpc::StatusCode::CANCELLED, "");
const grpc::Status kGone(grpc::StatusCode::UNAVAILABLE, "connection reset");

TEST_F(AskRpcTest, AnswersWithTheTiersAnswerAndJoinedTimings) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.set_request_id("my request");
  const auto answer = Ask(question);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text(), "a red circle");
  EXPECT_EQ(answer->request_id(), "my request");
  EXPECT_EQ(answer->context_budget().remaining(), 2006);
  const SteadyDuration tier = FromProtoDuration(FinishedMessage("").finished().timings().total());
  EXPECT_EQ(FromProtoDuration(answer->timings().total()), FromProtoDuration(answer->timings().gateway()) + tier);
  EXPECT_GT(FromProtoDuration(answer->timings().time_to_first_token()), SteadyDuration::zero());
}

TEST_F(AskRpcTest, StreamsStartedDeltasFinishedInOrder) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  ASSERT_EQ(stream.events.size(), 4u);
  EXPECT_EQ(stream.events[0].started().context_budget().window(), 2048);
  EXPECT_EQ(stream.Text(), "a red circle");
  EXPECT_EQ(stream.events[3].finished().text(), "a red circle");
  EXPECT_TRUE(stream.events[3].finished().timings().has_gateway());
}

TEST_F(AskRpcTest, GivesARequestAnIdIfTheCallerDoesNot) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const auto first = Ask(TextQuestion()), second = Ask(TextQuestion());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_FALSE(first->request_id().empty());
  EXPECT_NE(first->request_id(), second->request_id());
}

TEST_F(AskRpcTest, ErrorsOfTheTierPassUnchanged) {
  const absl::Status kErrors[] = {
      MakeError(absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded, "2050 tokens do not fit into 2048"),
      MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch, "the tiers hold different models"),
      MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "no vision replica answers"),
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kKvFull, "no room for the cache",
                 absl::Milliseconds(1234)),
      InvalidField(reason::kImageCorrupt, "question.images[0]", "the file is cut off"),
      MakeError(absl::StatusCode::kInternal, reason::kInternal, "the server failed in stage decode"),
  };
  for (const absl::Status& error : kErrors) {
    FakeLanguageTier language([&error](int, auto*, const auto&, Writer*) { return ToGrpcStatus(error); });
    StartGateway(language.target());
    const absl::Status unary = Ask(TextQuestion()).status();
    EXPECT_EQ(unary, error);
    EXPECT_EQ(AskStream(TextQuestion()).status, error);
    const bool is_full = absl::IsResourceExhausted(error);  // others may not be
    EXPECT_EQ(language.calls(), is_full ? 6 : 2) << error;
  }
}

TEST_F(AskRpcTest, AQuestionForWhichThereIsNoMemoryIsRefusedUnread) {
  FakeLanguageTier language;
  StartGateway(language.target(), {.max_inflight_bytes = 100 << 10});
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  v1::Question large = TextQuestion();
  large.set_prompt(std::string(60 << 10, 'a'));
  for (const absl::Status& refused : {Ask(large).status(), AskStream(large).status}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
    EXPECT_TRUE(RetryAfterOf(refused).has_value());
  }
  EXPECT_EQ(language.calls(), 1);
  EXPECT_TRUE(Ask(TextQuestion()).ok()) << "what was refused holds nothing";
}

TEST_F(AskRpcTest, WithoutAnyReplicaTheTierIsUnavailable) {
  StartGateway(testing::DeadTarget(), {}, /*wait=*/false);
  const absl::Status unary = Ask(TextQuestion()).status();
  EXPECT_EQ(unary.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(unary), reason::kTierUnavailable);
  EXPECT_EQ(ReasonOf(AskStream(TextQuestion()).status), reason::kTierUnavailable);
}

TEST_F(AskRpcTest, AUnaryQuestionIsRepeatedEvenAfterTextHadCome) {
  FakeLanguageTier language([](int call, auto*, const auto& request, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", 5));
    if (call < 3) return kGone;
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const auto answer = Ask(TextQuestion());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text(), "a red circle");
  EXPECT_EQ(language.calls(), 3);
}

TEST_F(AskRpcTest, AStreamThatHasNotBegunIsRepeatedAndStartsOnce) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    if (call == 1) return kGone;
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

// As a replica says it that goes on after so many tokens.
v1::GenerateResponse StartedAfter(int tokens) {
  v1::GenerateResponse message = StartedMessage();
  message.mutable_started()->mutable_context_budget()->set_generated(tokens);
  return message;
}

std::vector<int> TokensOf(const std::vector<v1::AskStreamResponse>& events) {
  std::vector<int> ids;
  for (const auto& event : events) {
    ids.insert(ids.end(), event.delta().token_ids().begin(), event.delta().token_ids().end());
  }
  return ids;
}

v1::GenerateResponse WithLogprob(v1::GenerateResponse delta) {
  delta.mutable_delta()->add_logprobs()->mutable_chosen()->set_token_id(delta.delta().token_ids(0));
  return delta;
}

// Each of its replicas says one token and is lost.
class MortalTier {
 public:
  explicit MortalTier(int tokens)
      : tier_([this, tokens](int, auto*, const v1::GenerateRequest& request, Writer* writer) {
          const int begun = request.begun_token_ids_size();
          seeds_.insert(request.question().generation().seed());
          writer->Write(StartedAfter(begun));
          if (begun < tokens) {
            writer->Write(DeltaMessage(std::string(1, static_cast<char>('a' + begun)), 100 + begun));
            return kGone;
          }
          writer->Write(FinishedMessage("all"));
          return grpc::Status::OK;
        }) {}

  std::string target() const { return tier_.target(); }
  const std::set<uint64_t>& seeds() const { return seeds_; }

 private:
  std::set<uint64_t> seeds_;  // before tier_, whose calls come one at a time here
  FakeLanguageTier tier_;
};

TEST_F(AskRpcTest, AStreamGoesOnHoweverOftenItsReplicaIsLost) {
  MortalTier language(10);
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(stream.Text(), "abcdefghij");
  EXPECT_EQ(TokensOf(stream.events), (std::vector<int>{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}));
  ASSERT_EQ(stream.events.size(), 12u) << "started comes once";
  EXPECT_EQ(stream.events.back().finished().timings().resumed(), 10);
  EXPECT_EQ(Ask(TextQuestion())->timings().resumed(), 10);
}

grpc::Status Full() {
  return ToGrpcStatus(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(1)));
}

TEST_F(AskRpcTest, ABegunAnswerWaitsForAReplicaThatHasRoom) {
  FakeLanguageTier language([](int call, auto*, const v1::GenerateRequest& request, Writer* writer) {
    if (call > 1 && call < 7) return Full();
    writer->Write(StartedAfter(request.begun_token_ids_size()));
    if (call > 1) writer->Write(DeltaMessage("b", 6));
    if (call > 1) writer->Write(FinishedMessage("ab"));
    if (call == 1) writer->Write(DeltaMessage("a", 5));
    return call == 1 ? kGone : grpc::Status::OK;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(stream.Text(), "ab");
  EXPECT_EQ(language.calls(), 7);
}

TEST_F(AskRpcTest, ABegunAnswerForWhichThereIsNoRoomIsGivenUpBeforeItsDeadline) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call > 1) return Full();
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a", 5));
    return kGone;
  });
  StartGateway(language.target(), {.request_timeout = absl::Seconds(2)});
  const absl::Status status = AskStream(TextQuestion()).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(DetailOf(status, detail::kTokensEmitted), "1");
}

TEST_F(AskRpcTest, AQuestionThatFindsAReplicaFullTriesOthersAndThenSaysSo) {
  int room_at = 3;
  FakeLanguageTier language([&room_at](int call, auto*, const auto&, Writer* writer) {
    if (call < room_at) return Full();
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

TEST_F(AskRpcTest, ATierThatIsAlwaysFullIsSoonAskedOnceForEachQuestion) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer*) { return Full(); });
  StartGateway(language.target(), {.max_inflight = 16});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kQueueFull);
  EXPECT_LT(language.calls(), 160) << "100, a fifth of it, the reserve, and one for each second";
}

TEST_F(AskRpcTest, WhatIsDrawnWithoutASeedGoesOnWithOneSeed) {
  MortalTier language(3);
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.mutable_generation()->set_temperature(1);
  ASSERT_TRUE(AskStream(question).status.ok());
  EXPECT_EQ(language.seeds().size(), 1u);
  ASSERT_TRUE(AskStream(question).status.ok());
  EXPECT_EQ(language.seeds().size(), 2u) << "another question is drawn otherwise";
}

TEST_F(AskRpcTest, LogprobsOfAnAnswerThatWentOnAreWhole) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedAfter(call - 1));
    writer->Write(WithLogprob(DeltaMessage("x", 4 + call)));
    if (call < 2) return kGone;
    v1::GenerateResponse finished = FinishedMessage("xx");
    *finished.mutable_finished()->add_logprobs() = WithLogprob(DeltaMessage("x", 4 + call)).delta().logprobs(0);
    writer->Write(finished);
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  const v1::Answer& answer = stream.events.back().finished();
  ASSERT_EQ(answer.logprobs_size(), 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(answer.logprobs(i).chosen().token_id(), answer.token_ids(i));
}

// Beams do, and a replica of an earlier release.
TEST_F(AskRpcTest, AReplicaThatBeginsAgainIsPassedOverUpToWhatHasCome) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    if (call == 1) {
      writer->Write(DeltaMessage("a r", 5));
      return kGone;
    }
    v1::GenerateResponse joined = DeltaMessage("a red circle", 5);
    joined.mutable_delta()->add_token_ids(6);
    writer->Write(joined);
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(stream.Text(), "a red circle");
  EXPECT_EQ(TokensOf(stream.events), (std::vector<int>{5, 6}));
}

TEST_F(AskRpcTest, BeamsAreAskedForAgainUnseen) {
  FakeLanguageTier language([](int call, auto*, const v1::GenerateRequest& request, Writer* writer) {
    EXPECT_EQ(request.begun_token_ids_size(), 0);
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red circle", 5));
    if (call == 1) return kGone;
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

TEST_F(AskRpcTest, AReplicaThatSaysSomethingElseEndsTheStream) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", call));
    return kGone;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  EXPECT_EQ(stream.Text(), "a red");
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierUnavailable);
}

TEST_F(AskRpcTest, AStreamThatNobodyGoesOnWithEndsUnavailable) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call > 1) return kGone;
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", 5));
    return kGone;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  EXPECT_EQ(stream.Text(), "a red");
  EXPECT_EQ(stream.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierUnavailable);
  EXPECT_EQ(DetailOf(stream.status, detail::kTokensEmitted), "1");
  EXPECT_EQ(language.calls(), 4);
}

TEST_F(AskRpcTest, AnAnswerThatIsWholeStandsThoughItsReplicaIsLost) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red circle", 5));
    writer->Write(FinishedMessage("a red circle"));
    return kGone;
  });
  StartGateway(language.target());
  EXPECT_TRUE(AskStream(TextQuestion()).status.ok());
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  EXPECT_EQ(language.calls(), 2);
}

TEST_F(AskRpcTest, AReplicaThatDrainsHandsTheQuestionOn) {
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

TEST_F(AskRpcTest, AReplicaStoppedByForceHandsTheQuestionOn) {
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

TEST_F(AskRpcTest, GivesUpAfterThreeAttempts) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer*) { return kGone; });
  StartGateway(language.target());
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierUnavailable);
  EXPECT_EQ(language.calls(), 3);
}

TEST_F(AskRpcTest, ATierThatBreaksTheProtocolIsAnInternalError) {
  const std::vector<std::vector<v1::GenerateResponse>> kBroken = {
      {},
      {StartedMessage()},
      {DeltaMessage("a", 5), FinishedMessage("a")},
      {StartedMessage(), StartedMessage()},
      {StartedMessage(), FinishedMessage("a"), DeltaMessage("b", 6)},
      {StartedMessage(), v1::GenerateResponse()},
  };
  for (size_t i = 0; i < kBroken.size(); ++i) {
    FakeLanguageTier language([&](int, auto*, const auto&, Writer* writer) {
      for (const auto& message : kBroken[i]) writer->Write(message);
      return grpc::Status::OK;
    });
    StartGateway(language.target());
    const absl::Status unary = Ask(TextQuestion()).status();
    EXPECT_EQ(unary.code(), absl::StatusCode::kInternal) << i;
    EXPECT_EQ(ReasonOf(unary), reason::kTierProtocol) << i;
    EXPECT_EQ(ReasonOf(AskStream(TextQuestion()).status), reason::kTierProtocol) << i;
  }
}

TEST_F(AskRpcTest, CancellingReachesTheTier) {
  std::promise<void> in_tier, cancelled;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    in_tier.set_value();
    while (!context->IsCancelled()) std::this_thread::yield();
    cancelled.set_value();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  grpc::ClientContext context;
  auto answer = std::async(std::launch::async, [&] { return Ask(context, TextQuestion()); });
  in_tier.get_future().wait();
  context.TryCancel();
  EXPECT_EQ(answer.get().status().code(), absl::StatusCode::kCancelled);
  cancelled.get_future().wait();  // ends only if the tier was told
}

TEST_F(AskRpcTest, AnAbandonedStreamReachesTheTier) {
  std::promise<void> cancelled;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    while (!context->IsCancelled()) writer->Write(DeltaMessage("and on ", 5));
    cancelled.set_value();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  {
    grpc::ClientContext context;
    v1::AskStreamRequest request;
    *request.mutable_question() = TextQuestion();
    const auto reader = stub_->AskStream(&context, request);
    v1::AskStreamResponse event;
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    reader->Finish();
  }
  cancelled.get_future().wait();
}

TEST_F(AskRpcTest, TheCallersDeadlineReachesTheTier) {
  std::promise<std::chrono::system_clock::time_point> seen;
  FakeLanguageTier language([&](int, grpc::ServerContext* context, const auto&, Writer*) {
    seen.set_value(context->deadline());
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target());
  grpc::ClientContext context;
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(1);
  context.set_deadline(deadline);
  const absl::Status status = Ask(context, TextQuestion()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(seen.get_future().get(), deadline + std::chrono::seconds(30)) << "gRPC hands on what was left of it";
}

TEST_F(AskRpcTest, ACallWithoutDeadlineGetsTheServersOwn) {
  FakeLanguageTier language([](int call, grpc::ServerContext* context, const auto&, Writer* writer) {
    if (call == 2) writer->Write(StartedMessage());
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  StartGateway(language.target(), {.request_timeout = absl::Milliseconds(300)});
  const absl::Status status = Ask(TextQuestion()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("language_queue"), absl::string_view::npos) << "names the stage: " << status;
  EXPECT_NE(status.message().find("--request_timeout"), absl::string_view::npos) << "names the flag: " << status;
  EXPECT_EQ(DetailOf(status, detail::kStage), "language_queue");
  EXPECT_EQ(DetailOf(status, detail::kLimit), "request_timeout");
  const absl::Status later = Ask(TextQuestion()).status();
  EXPECT_NE(later.message().find("prefill"), absl::string_view::npos) << later;
}

TEST_F(AskRpcTest, AMethodThatIsNotThereHasItsReason) {
  FakeLanguageTier language;
  StartGateway(language.target());
  for (const char* method : {"/diptych.v1.GatewayService/Nothing", "/nobody.Service/Method"}) {
    grpc::ClientContext context;
    grpc::GenericStub stub(channel_);
    const grpc::Slice nothing("");
    grpc::ByteBuffer request(&nothing, 1), response;
    std::promise<grpc::Status> ended;
    stub.UnaryCall(&context, method, {}, &request, &response,
                   [&](grpc::Status end) { ended.set_value(std::move(end)); });
    const absl::Status status = FromGrpcStatus(ended.get_future().get());
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(ReasonOf(status), reason::kUnimplemented);
  }
}

}  // namespace
}  // namespace diptych::gateway
