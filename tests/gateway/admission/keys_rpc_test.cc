// API keys, their limits and the waiting room, through the RPCs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "common/hash.h"
#include "tests/gateway/gateway_fixture.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;
using testing::FinishedMessage;
using testing::StartedMessage;

class KeysRpcTest : public GatewayFixture {
 protected:
  void SetUp() override { WriteKeys(""); }
  void TearDown() override { std::filesystem::remove(file_); }

  // Keys "alice" and "bob" of the same names; `limits` are alice's.
  void WriteKeys(const std::string& limits) {
    std::ofstream(file_) << R"({"keys": {"alice": {"sha256": ")" << HashOf("alice") << "\"" << limits
                         << R"(}, "bob": {"sha256": ")" << HashOf("bob") << "\"}}}";
  }

  static std::string HashOf(std::string_view key) {
    Sha256 hash;
    hash.Update(key);
    return ToHex(hash.Finish());
  }

  Options WithKeys(int max_inflight = 256) {
    Options options;
    options.api_keys_file = file_;
    options.max_inflight = max_inflight;
    return options;
  }

  absl::StatusOr<v1::Answer> AskAs(const std::string& key,
                                   std::chrono::milliseconds patience = std::chrono::minutes(1)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + patience);
    context.AddMetadata("authorization", "Bearer " + key);
    v1::Question question;
    question.set_prompt(key);
    return Ask(context, question);
  }

  std::future<absl::StatusOr<v1::Answer>> AskLaterAs(const std::string& key) {
    return std::async(std::launch::async, [this, key] { return AskAs(key); });
  }

  // Until the gateway shows so many questions waiting for a place.
  void AwaitWaiting(const std::string& count) {
    const std::string wanted = "\ndiptych_requests_waiting " + count + "\n";
    while (gateway_->Metrics().find(wanted) == std::string::npos)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  const std::string file_ = ::testing::TempDir() + "/keys_rpc_test_" + std::to_string(::getpid()) + ".json";
};

// Answers when it is told to, and remembers how many it was asked.
class SlowTier {
 public:
  FakeLanguageTier::Script Script() {
    return [this](int, auto*, const v1::GenerateRequest& request, FakeLanguageTier::Writer* writer) {
      std::unique_lock lock(mutex_);
      prompts_.insert(request.question().prompt());
      ++inside_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return answers_ > 0; });
      --answers_;
      --inside_;
      changed_.notify_all();
      writer->Write(StartedMessage());
      writer->Write(FinishedMessage("answer"));
      return grpc::Status::OK;
    };
  }
  void AwaitInside(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return inside_ == count; });
  }
  void AwaitPrompt(const std::string& prompt) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return prompts_.contains(prompt); });
  }
  void Answer(int count) {
    std::lock_guard lock(mutex_);
    answers_ += count;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  int answers_ = 0;
  std::set<std::string> prompts_;  // seen
};

TEST_F(KeysRpcTest, EveryPublicRpcAsksForAKey) {
  FakeLanguageTier language;
  StartGateway(language.target(), WithKeys());
  const auto expect_refused = [](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(ReasonOf(FromGrpcStatus(status)), reason::kInvalidApiKey);
    EXPECT_EQ(status.error_message().find("mallory"), std::string::npos);
  };
  for (const char* authorization : {"", "Bearer mallory", "alice", "Basic alice", "Bearer "}) {
    const auto prepare = [&](grpc::ClientContext& context) {
      if (*authorization != '\0') context.AddMetadata("authorization", authorization);
    };
    grpc::ClientContext ask, stream, plan, analyze, model;
    for (auto* context : {&ask, &stream, &plan, &analyze, &model}) prepare(*context);
    v1::AskResponse answer;
    expect_refused(stub_->Ask(&ask, {}, &answer));
    expect_refused(stub_->AskStream(&stream, {})->Finish());
    v1::PlanContextResponse planned;
    expect_refused(stub_->PlanContext(&plan, {}, &planned));
    v1::AnalyzeImageResponse analysis;
    expect_refused(stub_->AnalyzeImage(&analyze, {}, &analysis));
    v1::GetModelResponse described;
    expect_refused(stub_->GetModel(&model, {}, &described));
  }
  EXPECT_EQ(language.calls(), 0);
  EXPECT_TRUE(AskAs("alice").ok());
  EXPECT_TRUE(AskAs("bob").ok());
  WaitForHealth("readiness", Health::SERVING);  // without a key
}

TEST_F(KeysRpcTest, TwoAuthorizationsAreNone) {
  FakeLanguageTier language;
  StartGateway(language.target(), WithKeys());
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alice");
  context.AddMetadata("authorization", "Bearer bob");
  EXPECT_EQ(Ask(context, TextQuestion()).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(KeysRpcTest, AKeyHasOnlySoManyQuestionsInFlight) {
  WriteKeys(R"(, "max_inflight": 1)");
  SlowTier slow;
  FakeLanguageTier language(slow.Script());
  StartGateway(language.target(), WithKeys());
  auto first = AskLaterAs("alice");
  slow.AwaitInside(1);
  const absl::Status second = AskAs("alice").status();
  EXPECT_EQ(second.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(second), reason::kRateLimited);
  EXPECT_TRUE(RetryAfterOf(second).has_value());
  auto others = AskLaterAs("bob");
  slow.AwaitInside(2);
  slow.Answer(2);
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(others.get().ok());
}

TEST_F(KeysRpcTest, AKeyHasOnlySoManyTokensAMinute) {
  WriteKeys(R"(, "tokens_per_minute": 2)");
  FakeLanguageTier language([](int, auto*, const auto&, FakeLanguageTier::Writer* writer) {
    v1::GenerateResponse finished = FinishedMessage("answer");
    finished.mutable_finished()->mutable_usage()->set_total_tokens(100);
    writer->Write(StartedMessage());
    writer->Write(finished);
    return grpc::Status::OK;
  });
  StartGateway(language.target(), WithKeys());
  EXPECT_TRUE(AskAs("alice").ok()) << "what it costs is known afterwards";
  const absl::Status second = AskAs("alice").status();
  EXPECT_EQ(ReasonOf(second), reason::kRateLimited);
  ASSERT_TRUE(RetryAfterOf(second).has_value());
  EXPECT_GT(*RetryAfterOf(second), absl::Minutes(40)) << "98 tokens are owed at 2 a minute";
  EXPECT_TRUE(AskAs("bob").ok());
}

TEST_F(KeysRpcTest, AFloodOfOneKeyDelaysAnotherByOnePlace) {
  SlowTier slow;
  FakeLanguageTier language(slow.Script());
  StartGateway(language.target(), WithKeys(/*max_inflight=*/4));  // two of each key may wait
  std::vector<std::future<absl::StatusOr<v1::Answer>>> flood;
  for (int i = 0; i < 4; ++i) flood.push_back(AskLaterAs("alice"));
  slow.AwaitInside(4);
  for (int i = 0; i < 2; ++i) flood.push_back(AskLaterAs("alice"));
  AwaitWaiting("2");
  const absl::Status refused = AskAs("alice").status();
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  auto single = AskLaterAs("bob");
  AwaitWaiting("3");
  slow.Answer(2);
  slow.AwaitPrompt("bob");
  AwaitWaiting("1");  // one of the flood's, which came before
  slow.Answer(5);
  const auto answer = single.get();
  EXPECT_TRUE(answer.ok()) << answer.status();
  for (auto& one : flood) EXPECT_TRUE(one.get().ok());
}

TEST_F(KeysRpcTest, ATierWithoutRoomIsWaitedFor) {
  FakeLanguageTier language([](int call, auto*, const auto&, FakeLanguageTier::Writer* writer) {
    if (call <= 8) return ReplicaFull();
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("a"));
    return grpc::Status::OK;
  });
  StartGateway(language.target(), WithKeys());
  EXPECT_TRUE(AskAs("alice").ok());
  EXPECT_EQ(language.calls(), 9);
}

TEST_F(KeysRpcTest, ATierThatNeverHasRoomIsWaitedForUntilTheDeadline) {
  FakeLanguageTier language([](auto...) { return ReplicaFull(); });
  StartGateway(language.target(), WithKeys());
  EXPECT_FALSE(AskAs("alice", std::chrono::milliseconds(500)).ok());
  while (gateway_->Metrics().find("\ndiptych_requests_running 0\n") == std::string::npos) std::this_thread::yield();
}

// It would hold the one place that a gate has whose tier takes nothing.
TEST_F(KeysRpcTest, AQuestionThatNoReplicaCanEverTakeIsNotWaitedFor) {
  FakeLanguageTier language([](auto...) {
    return ToGrpcStatus(MakeError(absl::StatusCode::kResourceExhausted, reason::kKvFull, "more than there is"));
  });
  StartGateway(language.target(), WithKeys());
  EXPECT_EQ(ReasonOf(AskAs("alice", std::chrono::seconds(20)).status()), reason::kKvFull);
  EXPECT_LE(language.calls(), 3);
}

TEST_F(KeysRpcTest, WaitingEndsWithTheDeadlineAndWithTheCaller) {
  SlowTier slow;
  FakeLanguageTier language(slow.Script());
  StartGateway(language.target(), WithKeys(/*max_inflight=*/1));
  auto first = AskLaterAs("alice");
  slow.AwaitInside(1);
  const absl::Status late = AskAs("bob", std::chrono::milliseconds(100)).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  AwaitWaiting("0");
  grpc::ClientContext leaving;
  leaving.AddMetadata("authorization", "Bearer bob");
  auto left = std::async(std::launch::async, [&] { return Ask(leaving, TextQuestion()); });
  AwaitWaiting("1");
  leaving.TryCancel();
  EXPECT_EQ(left.get().status().code(), absl::StatusCode::kCancelled);
  AwaitWaiting("0");
  slow.Answer(1);
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(language.calls(), 1) << "who waited and left was never asked for";
}

TEST_F(KeysRpcTest, WhoWaitsWhenTheServerDrainsIsAnswered) {
  SlowTier slow;
  FakeLanguageTier language(slow.Script());
  StartGateway(language.target(), WithKeys(/*max_inflight=*/1));
  auto first = AskLaterAs("alice");
  slow.AwaitInside(1);
  auto second = AskLaterAs("bob");
  AwaitWaiting("1");
  auto drained = std::async(std::launch::async, [this] { gateway_->Drain(); });
  WaitForHealth("readiness", Health::NOT_SERVING);
  slow.Answer(2);
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  drained.get();
}

// Keeps the salts that it was asked with.
class SaltedTier {
 public:
  FakeLanguageTier::Script Script() {
    return [this](int, auto*, const v1::GenerateRequest& request, FakeLanguageTier::Writer* writer) {
      std::lock_guard lock(mutex_);
      salts_.push_back(request.cache_salt());
      writer->Write(StartedMessage());
      writer->Write(FinishedMessage("text"));
      return grpc::Status::OK;
    };
  }
  std::vector<std::string> salts() {
    std::lock_guard lock(mutex_);
    return salts_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> salts_;
};

TEST_F(KeysRpcTest, EachKeyHasItsOwnCaches) {
  SaltedTier tier;
  FakeLanguageTier language(tier.Script());
  StartGateway(language.target(), WithKeys());
  for (const char* key : {"alice", "bob", "alice"}) EXPECT_TRUE(AskAs(key).ok());
  const auto salts = tier.salts();
  ASSERT_EQ(salts.size(), 3u);
  EXPECT_EQ(salts[0], salts[2]);
  EXPECT_NE(salts[0], salts[1]);
  EXPECT_FALSE(salts[0].empty());
  EXPECT_EQ(salts[0].find("alice"), std::string::npos);
}

TEST_F(KeysRpcTest, KeysShareCachesWhereTheOperatorSaysSo) {
  SaltedTier tier;
  FakeLanguageTier language(tier.Script());
  Options options = WithKeys();
  options.shared_cache = true;
  StartGateway(language.target(), options);
  for (const char* key : {"alice", "bob"}) EXPECT_TRUE(AskAs(key).ok());
  EXPECT_EQ(tier.salts(), (std::vector<std::string>{"", ""}));
}

}  // namespace
}  // namespace diptych::gateway
