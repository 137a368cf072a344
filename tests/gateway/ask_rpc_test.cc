// Ask and AskStream through the RPC: what the tier's answers, errors and broken streams become.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

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

TEST_F(AskRpcTest, WhatCannotBeOfAnAnswerIsAnInternalError) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    v1::GenerateResponse finished = FinishedMessage("a");
    finished.mutable_finished()->mutable_usage()->set_total_tokens(-1'000'000);
    writer->Write(finished);
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierProtocol);
  EXPECT_EQ(ReasonOf(AskStream(TextQuestion()).status), reason::kTierProtocol);
}

TEST_F(AskRpcTest, TokensWithoutEndAreAnInternalError) {
  FakeLanguageTier language([](int, grpc::ServerContext*, const auto&, Writer* writer) {
    v1::GenerateResponse delta;
    delta.mutable_delta()->mutable_token_ids()->Resize(10'000, 5);
    bool sent = writer->Write(StartedMessage());
    while (sent) sent = writer->Write(delta);  // until the gateway ends the call
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierProtocol);
}

TEST_F(AskRpcTest, MoreTokensThanWereAskedForAreAnInternalError) {
  FakeLanguageTier language([](int, grpc::ServerContext*, const auto&, Writer* writer) {
    for (bool sent = writer->Write(StartedMessage()); sent;) sent = writer->Write(DeltaMessage("a", 5));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.mutable_generation()->set_max_new_tokens(3);
  EXPECT_EQ(ReasonOf(Ask(question).status()), reason::kTierProtocol);
  const Stream stream = AskStream(question);
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierProtocol);
  EXPECT_EQ(stream.Text(), "aaa");
}

TEST_F(AskRpcTest, MessagesWithoutTokensAgainAndAgainAreAnInternalError) {
  for (const char* text : {"", "a"}) {
    FakeLanguageTier language([&](int, grpc::ServerContext*, const auto&, Writer* writer) {
      v1::GenerateResponse delta;
      delta.mutable_delta()->set_text(text);
      for (bool sent = writer->Write(StartedMessage()); sent;) sent = writer->Write(delta);
      return grpc::Status::OK;
    });
    StartGateway(language.target());
    EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierProtocol);
    EXPECT_EQ(ReasonOf(AskStream(TextQuestion()).status), reason::kTierProtocol);
  }
}

TEST_F(AskRpcTest, ATierThatHasFinishedAndDoesNotEndTheCallHoldsNobody) {
  FakeLanguageTier language([](int, grpc::ServerContext* context, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a", 5));
    writer->Write(FinishedMessage("a"));
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));  // until which it was held
  const auto answer = Ask(context, TextQuestion());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text(), "a");
  EXPECT_TRUE(AskStream(TextQuestion()).status.ok());
}

TEST_F(AskRpcTest, AnAnswerToAnotherQuestionIsAnInternalError) {
  for (const bool at_once : {true, false}) {
    FakeLanguageTier language([&](int, auto*, const auto&, Writer* writer) {
      writer->Write(StartedMessage(at_once ? "another" : ""));
      v1::GenerateResponse finished = FinishedMessage("a");
      finished.mutable_finished()->set_request_id("a\r\nset-cookie: b");
      writer->Write(finished);
      return grpc::Status::OK;
    });
    StartGateway(language.target());
    EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierProtocol);
    const Stream stream = AskStream(TextQuestion());
    EXPECT_EQ(ReasonOf(stream.status), reason::kTierProtocol);
    EXPECT_EQ(stream.events.size(), at_once ? 0u : 1u);
  }
}

TEST_F(AskRpcTest, TheRequestIdIsTheGatewaysWhereTheTierSaysNone) {
  FakeLanguageTier language([](int, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("a"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.set_request_id("mine");
  EXPECT_EQ(Ask(question)->request_id(), "mine");
  const Stream stream = AskStream(question);
  EXPECT_EQ(stream.events.front().started().request_id(), "mine");
  EXPECT_EQ(stream.events.back().finished().request_id(), "mine");
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
