// An answer whose replica is lost after its first token goes on in another replica.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "common/error_details.h"
#include "tests/gateway/gateway_fixture.h"

namespace diptych::gateway {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::FinishedMessage;
using testing::StartedMessage;
using Writer = FakeLanguageTier::Writer;

class ResumedAnswerRpcTest : public GatewayFixture {};

// The first message of a replica that goes on after `tokens` tokens.
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

// A tier whose replicas each generate one token and are then lost, until `tokens` are there.
class MortalTier {
 public:
  explicit MortalTier(int tokens)
      : tier_([this, tokens](int, auto*, const v1::GenerateRequest& request, Writer* writer) {
          const int begun = request.begun_token_ids_size();
          seeds_.insert(request.question().generation().seed());
          writer->Write(StartedAfter(begun));
          if (begun < tokens) {
            writer->Write(DeltaMessage(std::string(1, static_cast<char>('a' + begun)), 100 + begun));
            return kReplicaGone;
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

TEST_F(ResumedAnswerRpcTest, AStreamGoesOnHoweverOftenItsReplicaIsLost) {
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

TEST_F(ResumedAnswerRpcTest, ABegunAnswerWaitsForAReplicaThatHasRoom) {
  FakeLanguageTier language([](int call, auto*, const v1::GenerateRequest& request, Writer* writer) {
    if (call > 1 && call < 7) return ReplicaFull();
    writer->Write(StartedAfter(request.begun_token_ids_size()));
    if (call > 1) writer->Write(DeltaMessage("b", 6));
    if (call > 1) writer->Write(FinishedMessage("ab"));
    if (call == 1) writer->Write(DeltaMessage("a", 5));
    return call == 1 ? kReplicaGone : grpc::Status::OK;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  ASSERT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(stream.Text(), "ab");
  EXPECT_EQ(language.calls(), 7);
}

TEST_F(ResumedAnswerRpcTest, ABegunAnswerForWhichThereIsNoRoomIsGivenUpBeforeItsDeadline) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call > 1) return ReplicaFull();
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a", 5));
    return kReplicaGone;
  });
  StartGateway(language.target(), {.request_timeout = absl::Seconds(2)});
  const absl::Status status = AskStream(TextQuestion()).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(DetailOf(status, detail::kTokensEmitted), "1");
}

TEST_F(ResumedAnswerRpcTest, WhatIsDrawnWithoutASeedGoesOnWithOneSeed) {
  MortalTier language(3);
  StartGateway(language.target());
  v1::Question question = TextQuestion();
  question.mutable_generation()->set_temperature(1);
  ASSERT_TRUE(AskStream(question).status.ok());
  EXPECT_EQ(language.seeds().size(), 1u);
  ASSERT_TRUE(AskStream(question).status.ok());
  EXPECT_EQ(language.seeds().size(), 2u) << "another question is drawn otherwise";
}

TEST_F(ResumedAnswerRpcTest, LogprobsOfAnAnswerThatWentOnAreWhole) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedAfter(call - 1));
    writer->Write(WithLogprob(DeltaMessage("x", 4 + call)));
    if (call < 2) return kReplicaGone;
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

// As beam search does, and a replica of an earlier release.
TEST_F(ResumedAnswerRpcTest, AReplicaThatBeginsAgainIsPassedOverUpToWhatHasCome) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    if (call == 1) {
      writer->Write(DeltaMessage("a r", 5));
      return kReplicaGone;
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

TEST_F(ResumedAnswerRpcTest, AReplicaThatSaysSomethingElseEndsTheStream) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", call));
    return kReplicaGone;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  EXPECT_EQ(stream.Text(), "a red");
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierUnavailable);
}

TEST_F(ResumedAnswerRpcTest, AReplicaThatHasDoneBeforeItSaidWhatHasComeEndsTheStream) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a", 5));
    if (call > 1) {
      writer->Write(FinishedMessage("a"));
      return grpc::Status::OK;
    }
    writer->Write(DeltaMessage(" red", 6));
    return kReplicaGone;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  EXPECT_EQ(stream.Text(), "a red");
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierUnavailable);
}

TEST_F(ResumedAnswerRpcTest, AStreamThatNobodyGoesOnWithEndsUnavailable) {
  FakeLanguageTier language([](int call, auto*, const auto&, Writer* writer) {
    if (call > 1) return kReplicaGone;
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("a red", 5));
    return kReplicaGone;
  });
  StartGateway(language.target());
  const Stream stream = AskStream(TextQuestion());
  EXPECT_EQ(stream.Text(), "a red");
  EXPECT_EQ(stream.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(stream.status), reason::kTierUnavailable);
  EXPECT_EQ(DetailOf(stream.status, detail::kTokensEmitted), "1");
  EXPECT_EQ(language.calls(), 4);
}

}  // namespace
}  // namespace diptych::gateway
