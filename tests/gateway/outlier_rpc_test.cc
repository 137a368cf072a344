// Language replicas that fail whatever they are asked, next to ones that do not.
#include <gtest/gtest.h>

#include "common/replicas/outlier_detection.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;

class OutlierRpcTest : public GatewayFixture {
 protected:
  static FakeLanguageTier::Script FailsWhile(const std::atomic<bool>& sick) {
    return [&sick](int, grpc::ServerContext*, const v1::GenerateRequest&, FakeLanguageTier::Writer* writer) {
      if (sick) return grpc::Status(grpc::StatusCode::INTERNAL, "");
      writer->Write(testing::StartedMessage());
      writer->Write(testing::FinishedMessage("well again"));
      return grpc::Status::OK;
    };
  }

  static std::string Both(const FakeLanguageTier& a, const FakeLanguageTier& b) {
    return "ipv4:" + a.target() + "," + b.target();
  }

  // Asks until so many are answered one after the other.
  void AskUntilAllIsWell(int in_a_row) {
    int well = 0;
    for (int i = 0; i < 1000 && well < in_a_row; ++i) well = Ask(TextQuestion()).ok() ? well + 1 : 0;
    ASSERT_EQ(well, in_a_row);
  }

  double Ejected(const std::string& tier) {
    return testing::Scrape(gateway_->metrics_port()).Value("diptych_ejected_replicas", {{"tier", tier}});
  }

  std::atomic<bool> is_sick_ = true;
};

TEST_F(OutlierRpcTest, AReplicaThatFailsEveryCallMeetsTheFirstFewOnly) {
  FakeLanguageTier sick(FailsWhile(is_sick_)), well;
  StartGateway(Both(sick, well), {.metrics_listen = "127.0.0.1:0"});
  EXPECT_EQ(Ejected("language"), 0);
  const auto begin = SteadyClock::now();
  while (sick.calls() == 0) (void)Ask(TextQuestion());
  AskUntilAllIsWell(10);
  const int met = sick.calls();
  const double ejected = Ejected("language");
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Ask(TextQuestion()).ok());
  if (SteadyClock::now() - begin >= OutlierDetection::kFirstEjection) GTEST_SKIP() << "too slow to tell";
  EXPECT_EQ(sick.calls(), met);
  EXPECT_EQ(ejected, 1);
  EXPECT_EQ(Ejected("vision"), 0);
}

TEST_F(OutlierRpcTest, WhereTheOthersAreLostItIsAskedAllTheSame) {
  FakeLanguageTier sick(FailsWhile(is_sick_)), well;
  StartGateway(Both(sick, well));
  while (sick.calls() == 0) (void)Ask(TextQuestion());
  AskUntilAllIsWell(10);
  is_sick_ = false;
  well.Kill();
  AskUntilAllIsWell(5);
}

TEST_F(OutlierRpcTest, WhereAllFailEachCallHasItsOwnError) {
  FakeLanguageTier one(FailsWhile(is_sick_)), other(FailsWhile(is_sick_));
  StartGateway(Both(one, other));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kTierProtocol);
  }
  EXPECT_EQ(one.calls() + other.calls(), 20);
}

}  // namespace
}  // namespace diptych::gateway
