#include "common/metrics/metrics_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/testing/metrics_page.h"

namespace diptych {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

absl::Status AlwaysReady() {
  return absl::OkStatus();
}

class MetricsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    counter_.Add(5);
    auto server = MetricsServer::Start("127.0.0.1:0", registry_, [this] {
      return ready_ ? absl::OkStatus() : absl::UnavailableError("the tiers hold different models");
    });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::atomic<bool> ready_ = false;
  MetricRegistry registry_;
  Counter counter_ = registry_.AddCounter("calls_total", "Calls.");
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, ShowsWhatTheRegistryHolds) {
  EXPECT_EQ(testing::Scrape(server_->port()).Value("calls_total"), 5);
  counter_.Add();
  EXPECT_EQ(testing::Scrape(server_->port()).Value("calls_total"), 6);
}

TEST_F(MetricsServerTest, TellsProbesWhetherTheProcessIsReady) {
  const std::string ask = "GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
  EXPECT_THAT(testing::Exchange(server_->port(), ask),
              AllOf(HasSubstr(" 503 "), HasSubstr("\r\n\r\nthe tiers hold different models\n")));
  EXPECT_THAT(testing::Exchange(server_->port(), "GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n"),
              HasSubstr(" 200 "));
  ready_ = true;
  EXPECT_THAT(testing::Exchange(server_->port(), ask), HasSubstr(" 200 "));
}

TEST_F(MetricsServerTest, ShowsNothingElse) {
  for (const std::string path : {"/", "/metric", "/healthz", "/healthz/readyx", "/metrics/x", "/metrics%00",
                                 "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "*", "http://h/x"}) {
    const std::string answer =
        testing::Exchange(server_->port(), "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_THAT(answer, Not(HasSubstr(" 200 "))) << path;
    EXPECT_THAT(answer, Not(HasSubstr("root:"))) << path;
  }
}

TEST_F(MetricsServerTest, OnThisMachineOnlyItsOwnNamesAreAnswered) {
  const auto answer = [this](const std::string& host) {
    return testing::Exchange(server_->port(), "GET /metrics HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
  };
  for (const char* host : {"127.0.0.1:9001", "localhost", "[::1]:9001"}) EXPECT_THAT(answer(host), HasSubstr(" 200 "));
  EXPECT_THAT(answer("stranger.example:9001"), HasSubstr(" 403 "));
}

TEST_F(MetricsServerTest, ARequestSaysOnceForWhichHostItIs) {
  const auto answer = [this](const std::string& rest) {
    return testing::Exchange(server_->port(), "GET /metrics HTTP/1." + rest + "\r\n");
  };
  for (const char* rest : {"1\r\n", "1\r\nHost:\r\n", "1\r\nHost: localhost\r\nHost: localhost\r\n",
                           "1\r\nHost: local host\r\n", "0\r\nHost:\r\n"}) {
    EXPECT_THAT(answer(rest), HasSubstr(" 400 ")) << rest;
  }
  EXPECT_THAT(answer("0\r\n"), HasSubstr(" 200 "));
}

TEST_F(MetricsServerTest, ATargetMayNameTheHost) {
  const auto answer = [this](const std::string& target) {
    return testing::Exchange(server_->port(), "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  };
  EXPECT_THAT(answer("http://localhost:9001/metrics"), HasSubstr(" 200 "));
  EXPECT_THAT(answer("http://stranger.example/metrics"), HasSubstr(" 403 "));
}

TEST_F(MetricsServerTest, SurvivesHostileRequests) {
  const std::string much(1 << 20, 'a');
  for (const std::string& request :
       {std::string("\0\xff\x16\x03\x01", 5), std::string("GET"), std::string("\r\n\r\n"),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "GET /" + much + " HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nX: " + much + "\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n" + much,
        std::string("GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        std::string("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        std::string("DELETE /metrics HTTP/1.1\r\n\r\n"), std::string("GET /metrics HTTP/9.9\r\n\r\n")}) {
    testing::Exchange(server_->port(), request);
  }
  EXPECT_EQ(testing::Scrape(server_->port()).Value("calls_total"), 5);
}

TEST_F(MetricsServerTest, PeersThatNeverFinishTheirRequestsKeepNobodyOut) {
  std::vector<int> idlers;
  for (int i = 0; i < 40; ++i) idlers.push_back(testing::Send(server_->port(), "GET /metrics HTTP/1.1\r\nX: "));
  EXPECT_EQ(testing::Scrape(server_->port()).Value("calls_total"), 5);
  for (const int idler : idlers) EXPECT_EQ(testing::ReadToEnd(idler), "");  // each is sent away
}

TEST_F(MetricsServerTest, APortThatIsTakenIsRefused) {
  const auto second = MetricsServer::Start("127.0.0.1:" + std::to_string(server_->port()), registry_, AlwaysReady);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics_listen"));
}

TEST(MetricsServerAddressTest, OnlyOnePlainAddressIsTaken) {
  const MetricRegistry registry;
  for (const char* listen :
       {"nowhere", ":9001", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:1s", "127.0.0.1:0,127.0.0.1:0", "127.0.0.1:0r",
        "+8", "127.0.0.1:-1", "/etc/passwd:1", "256.0.0.1:0"}) {
    EXPECT_EQ(MetricsServer::Start(listen, registry, AlwaysReady).status().code(), absl::StatusCode::kInvalidArgument)
        << listen;
  }
  EXPECT_TRUE(MetricsServer::Start("localhost:0", registry, AlwaysReady).ok());
}

TEST(MetricsServerEndTest, EndsAlthoughAPeerHasNotFinishedItsRequest) {
  const MetricRegistry registry;
  auto server = MetricsServer::Start("127.0.0.1:0", registry, AlwaysReady);
  ASSERT_TRUE(server.ok());
  const int idler = testing::Send((*server)->port(), "GET /metrics HTTP/1.1\r\n");
  testing::Scrape((*server)->port());
  server->reset();
  EXPECT_EQ(testing::ReadToEnd(idler), "");
}

}  // namespace
}  // namespace diptych
