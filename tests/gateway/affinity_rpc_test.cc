// Which language replica the gateway asks, of several.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/replicas/replica_affinity.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/metrics_page.h"
#include "tests/testing/sample_images.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;

class AffinityRpcTest : public GatewayFixture {
 protected:
  static constexpr int kReplicas = 3;
  static constexpr int kImages = 24;  // of each replica's being asked about none there is no chance in ten thousand

  // Each replica says its number.
  void StartReplicas(Affinity affinity = Affinity::kImage) {
    std::string target = "ipv4:";
    for (int i = 0; i < kReplicas; ++i) {
      replicas_.push_back(std::make_unique<FakeLanguageTier>(
          [this, i](int, grpc::ServerContext* context, const v1::GenerateRequest&, FakeLanguageTier::Writer* writer) {
            return Answer(i, context, writer);
          }));
      absl::StrAppend(&target, i > 0 ? "," : "", replicas_[i]->target());
    }
    StartGateway(target, {.metrics_listen = "127.0.0.1:0", .affinity = affinity});
    if (affinity != Affinity::kNone) AwaitKnown(kReplicas);
  }

  grpc::Status Answer(int replica, grpc::ServerContext* context, FakeLanguageTier::Writer* writer) {
    std::unique_lock lock(mutex_);
    ++asked_[replica];
    changed_.notify_all();
    changed_.wait(lock, [&] { return !holds_ || context->IsCancelled(); });
    if (full_.contains(replica)) {
      return ToGrpcStatus(
          RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(1)));
    }
    if (lost_model_.contains(replica)) {
      return ToGrpcStatus(MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "no vision replica"));
    }
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage(absl::StrCat(replica)));
    return grpc::Status::OK;
  }

  // They are found by health checks and then connected to.
  void AwaitKnown(int count) {
    const auto end = SteadyClock::now() + std::chrono::minutes(1);
    while (testing::Scrape(gateway_->metrics_port()).Value("diptych_known_replicas", {{"tier", "language"}}) != count) {
      ASSERT_LT(SteadyClock::now(), end) << "not all replicas are found";
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    while (!EachImageHasItsReplica()) ASSERT_LT(SteadyClock::now(), end) << "not all are connected to";
  }

  // Asked about one more time than there are replicas, which no round robin answers at the same place.
  bool EachImageHasItsReplica() {
    std::set<int> replicas;
    for (int image = 0; image < kImages; ++image) {
      const int replica = ReplicaOf(ImageQuestion(image));
      for (int i = 0; i < kReplicas; ++i) {
        if (ReplicaOf(ImageQuestion(image)) != replica) return false;
      }
      replicas.insert(replica);
    }
    return replicas.size() == kReplicas;
  }

  static v1::Question ImageQuestion(int image) {
    v1::Question question;
    question.add_images()->set_data(absl::StrCat(testing::GoodPng(), image));
    return question;
  }

  // Which replica answers, -1 for none.
  int ReplicaOf(const v1::Question& question) {
    const auto answer = Ask(question);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? std::stoi(answer->text()) : -1;
  }

  std::vector<int> ReplicasOfAllImages() {
    std::vector<int> replicas;
    for (int image = 0; image < kImages; ++image) replicas.push_back(ReplicaOf(ImageQuestion(image)));
    return replicas;
  }

  // As the operator of a replica would.
  void SetFull(int replica, bool is_full) {
    std::lock_guard lock(mutex_);
    is_full ? (void)full_.insert(replica) : (void)full_.erase(replica);
  }

  std::vector<std::unique_ptr<FakeLanguageTier>> replicas_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, int> asked_;
  std::set<int> full_, lost_model_;
  bool holds_ = false;
};

TEST_F(AffinityRpcTest, AnImageKeepsItsReplicaAndImagesSpread) {
  StartReplicas();
  const std::vector<int> replicas = ReplicasOfAllImages();
  EXPECT_EQ(std::set<int>(replicas.begin(), replicas.end()).size(), kReplicas);
  EXPECT_EQ(ReplicasOfAllImages(), replicas);
}

TEST_F(AffinityRpcTest, AConversationKeepsTheReplicaOfItsFirstTurn) {
  StartReplicas();
  const auto conversation = [](int turns) {
    v1::Question question;
    for (int i = 0; i < turns; ++i) {
      question.add_turns()->set_text(absl::StrCat("turn ", i));
      question.mutable_turns(i)->set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    }
    return question;
  };
  const int replica = ReplicaOf(conversation(3));
  for (const int turns : {3, 5, 7, 9, 11}) EXPECT_EQ(ReplicaOf(conversation(turns)), replica);
}

TEST_F(AffinityRpcTest, WhenAReplicaIsLostItsImagesMoveAndNoOthers) {
  StartReplicas();
  const std::vector<int> before = ReplicasOfAllImages();
  const int lost = before[0];
  replicas_[lost]->Kill();
  const std::vector<int> after = ReplicasOfAllImages();  // each of them is answered
  for (int image = 0; image < kImages; ++image) {
    if (before[image] == lost) {
      EXPECT_NE(after[image], lost);
    } else {
      EXPECT_EQ(after[image], before[image]);
    }
  }
}

TEST_F(AffinityRpcTest, WhatAFullReplicaRefusesGoesToAnotherOne) {
  StartReplicas();
  const int home = ReplicaOf(ImageQuestion(0));
  SetFull(home, true);
  const int refuge = ReplicaOf(ImageQuestion(0));
  EXPECT_NE(refuge, home);
  for (int i = 0; i < 5; ++i) EXPECT_NE(ReplicaOf(ImageQuestion(0)), home);
  SetFull(home, false);
  const auto end = SteadyClock::now() + std::chrono::minutes(1);
  while (ReplicaOf(ImageQuestion(0)) != home) ASSERT_LT(SteadyClock::now(), end) << "it has room again";
}

// Its callers are told, as before, that its vision tier is lost; who asks again need not meet it again.
TEST_F(AffinityRpcTest, AnImageDoesNotStickToAReplicaThatCannotAnswerIt) {
  StartReplicas();
  const int home = ReplicaOf(ImageQuestion(0));
  {
    std::lock_guard lock(mutex_);
    lost_model_.insert(home);
  }
  EXPECT_EQ(ReasonOf(Ask(ImageQuestion(0)).status()), reason::kTierUnavailable);
  EXPECT_NE(ReplicaOf(ImageQuestion(0)), home);
}

TEST_F(AffinityRpcTest, AHotImageSpreads) {
  constexpr int kCalls = 12;
  StartReplicas();
  {
    std::lock_guard lock(mutex_);
    asked_.clear();
    holds_ = true;
  }
  std::vector<std::thread> callers;
  for (int i = 0; i < kCalls; ++i) {
    callers.emplace_back([this] { EXPECT_TRUE(Ask(ImageQuestion(0)).ok()); });
  }
  std::map<int, int> at_once;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      int calls = 0;
      for (const auto& [replica, asked] : asked_) calls += asked;
      return calls == kCalls;
    });
    at_once = asked_;
    holds_ = false;
    changed_.notify_all();
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(at_once.size(), kReplicas);
  for (const auto& [replica, calls] : at_once) EXPECT_LE(calls, MostCalls(kCalls, kReplicas)) << replica;
}

TEST_F(AffinityRpcTest, WithoutItTheReplicasTakeTurns) {
  StartReplicas(Affinity::kNone);
  std::set<int> replicas;
  for (int i = 0; i < 100 && replicas.size() < kReplicas; ++i) replicas.insert(ReplicaOf(ImageQuestion(0)));
  EXPECT_EQ(replicas.size(), kReplicas);
  EXPECT_EQ(testing::Scrape(gateway_->metrics_port()).Value("diptych_known_replicas", {{"tier", "language"}}), 0);
}

}  // namespace
}  // namespace diptych::gateway
