// Being full, and the orderly end, through the RPC.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::gateway {
namespace {

using ::testing::AllOf;
using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::FinishedMessage;
using ::testing::HasSubstr;
using testing::StartedMessage;

// A tier whose first call waits until the test lets it go on.
class HeldTier {
 public:
  std::string target() const { return tier_.target(); }
  void WaitForFirstCall() { arrived_.get_future().wait(); }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> arrived_, release_;
  std::shared_future<void> released_ = release_.get_future().share();
  FakeLanguageTier tier_{[this](int call, auto*, const auto&, FakeLanguageTier::Writer* writer) {
    if (call == 1) {
      arrived_.set_value();
      released_.wait();
    }
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("text", 5));
    writer->Write(FinishedMessage("text"));
    return grpc::Status::OK;
  }};
};

class DrainRpcTest : public GatewayFixture {};

TEST_F(DrainRpcTest, OverItsLimitItRefusesAtOnceAndSaysWhenToRetry) {
  HeldTier language;
  StartGateway(language.target(), {.max_inflight = 1});
  auto first = std::async(std::launch::async, [&] { return Ask(TextQuestion()); });
  language.WaitForFirstCall();
  const absl::Status refused = Ask(TextQuestion()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_GT(RetryAfterOf(refused).value_or(absl::ZeroDuration()), absl::ZeroDuration());
  EXPECT_EQ(ReasonOf(AskStream(TextQuestion()).status), reason::kQueueFull);
  language.Release();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(DrainRpcTest, DrainingItFinishesWhatItHasAndRefusesTheRest) {
  HeldTier language;
  StartGateway(language.target());
  auto first = std::async(std::launch::async, [&] { return AskStream(TextQuestion()); });
  language.WaitForFirstCall();
  std::thread drain([&] { gateway_->Drain(); });
  absl::Status refused;
  do {  // until the gate has closed
    refused = Ask(TextQuestion()).status();
  } while (refused.ok());
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused), reason::kDraining);
  language.Release();
  const Stream answered = first.get();
  EXPECT_TRUE(answered.status.ok()) << answered.status;
  EXPECT_EQ(answered.Text(), "text");
  drain.join();
}

// CANCELLED, which gRPC gives to what comes while it shuts down, is repeated by nobody.
TEST_F(DrainRpcTest, WhoAsksWhileItEndsIsToldThatItIsUnavailable) {
  constexpr int kCallers = 16;
  FakeLanguageTier language;
  StartGateway(language.target());
  std::atomic<bool> ended = false;
  std::atomic<int> answered = 0, unavailable = 0;
  const auto ask_until_the_end = [&] {
    while (!ended) {
      const absl::Status status = Ask(TextQuestion()).status();
      EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
      ++(status.ok() ? answered : unavailable);
    }
  };
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) callers.emplace_back(ask_until_the_end);
  while (answered < kCallers) std::this_thread::yield();
  gateway_->Drain();
  ended = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_GT(unavailable, 0);
}

class HealthRpcTest : public GatewayFixture {
 protected:
  // How the call ends, whatever status it tells.
  absl::Status CheckHealth(const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    Health response;
    return FromGrpcStatus(grpc::health::v1::Health::NewStub(channel_)->Check(&context, request, &response));
  }
};

TEST_F(HealthRpcTest, IsReadyWhileTheLanguageTierIsReachable) {
  FakeLanguageTier language;
  StartGateway(language.target());
  for (const char* name : {"", "readiness", "diptych.v1.GatewayService"}) WaitForHealth(name, Health::SERVING);
  language.Kill();
  for (const char* name : {"", "readiness", "diptych.v1.GatewayService"}) WaitForHealth(name, Health::NOT_SERVING);
  WaitForHealth("liveness", Health::SERVING);
}

TEST_F(HealthRpcTest, TiersThatHoldDifferentModelsAreNotReadyAndThePageSaysWhy) {
  FakeLanguageTier language;
  vision_.model.set_fingerprint("beef");
  StartGateway(language.target(), {.metrics_listen = "127.0.0.1:0", .http_listen = "127.0.0.1:0"});
  WaitForHealth("readiness", Health::NOT_SERVING);
  WaitForHealth("liveness", Health::SERVING);
  for (const int port : {gateway_->metrics_port(), gateway_->http_port()}) {
    EXPECT_THAT(testing::Exchange(port, "GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
                AllOf(HasSubstr(" 503 "), HasSubstr("different models: vision fake (beef), language fake (f00d)")));
  }
  const absl::Status probed = CheckHealth("readiness");
  EXPECT_EQ(ReasonOf(probed), reason::kModelMismatch);
  EXPECT_THAT(probed.message(), HasSubstr("different models: vision fake (beef), language fake (f00d)"));
  EXPECT_THAT(gateway_->Metrics(), HasSubstr("\ndiptych_ready 0\n"));
  EXPECT_TRUE(Ask(TextQuestion()).ok()) << "text needs no vision";
}

TEST_F(HealthRpcTest, AProbeOfReadinessIsToldWhyItFails) {
  FakeLanguageTier language;
  StartGateway(language.target());
  EXPECT_TRUE(CheckHealth("readiness").ok());
  language.Kill();
  WaitForHealth("readiness", Health::NOT_SERVING);
  const absl::Status why = CheckHealth("readiness");
  EXPECT_EQ(why.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(why), reason::kTierUnavailable);
  EXPECT_THAT(why.message(), HasSubstr("the language tier is not reachable"));
  EXPECT_TRUE(CheckHealth("liveness").ok());
  EXPECT_TRUE(CheckHealth("").ok()) << "other services have a status, not an error";
}

}  // namespace
}  // namespace diptych::gateway
