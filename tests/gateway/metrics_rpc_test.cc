#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::gateway {
namespace {

using ::testing::HasSubstr;
using testing::MetricsPage;
using ::testing::Not;
using testing::Scrape;

class GatewayMetricsTest : public GatewayFixture {
 protected:
  void Start(testing::FakeLanguageTier& language, int max_inflight = 256) {
    StartGateway(language.target(), {.metrics_listen = "127.0.0.1:0", .max_inflight = max_inflight});
  }
  MetricsPage Page() const { return Scrape(gateway_->metrics_port()); }
};

TEST_F(GatewayMetricsTest, CountsAnswersTokensAndStagesExactly) {
  testing::FakeLanguageTier language;
  Start(language);
  const auto answer = Ask(TextQuestion());
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_TRUE(AskStream(TextQuestion()).status.ok());
  const MetricsPage page = Page();
  EXPECT_EQ(page.Total("diptych_requests_total"), 2);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "OK"}, {"finish_reason", "stop"}}), 2);
  EXPECT_EQ(page.Total("diptych_errors_total"), 0);
  EXPECT_EQ(page.Value("diptych_request_seconds_count"), 2);
  EXPECT_EQ(page.Value("diptych_time_to_first_token_seconds_count"), 2);
  EXPECT_EQ(page.Value("diptych_inter_token_latency_seconds_count"), 2);  // two deltas of one token an answer
  EXPECT_EQ(page.Value("diptych_prompt_tokens_total"), 2 * answer->usage().prompt_tokens());
  EXPECT_EQ(page.Value("diptych_generation_tokens_total"), 2 * answer->usage().completion_tokens());
  EXPECT_EQ(page.Value("diptych_context_remaining_tokens_count"), 2);
  // The fake answer's stages take 1, 2, 3, ... ms, beginning with image_decode.
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "vit"}}), 2);
  EXPECT_NEAR(page.Value("diptych_stage_seconds_sum", {{"stage", "vit"}}), 2e-9 * answer->timings().vit().nanos(),
              1e-9);
  EXPECT_EQ(page.Value("diptych_retries_total", {{"tier", "language"}}), 0);
  EXPECT_EQ(page.Value("diptych_tier_reachable", {{"tier", "language"}}), 1);
  EXPECT_EQ(page.Value("diptych_ready"), 1);
}

TEST_F(GatewayMetricsTest, CountsRefusalsByCodeAndReason) {
  testing::FakeLanguageTier language;
  Start(language);
  v1::Question bad = TextQuestion();
  bad.mutable_generation()->set_top_p(7);
  EXPECT_FALSE(Ask(bad).ok());
  EXPECT_FALSE(AskStream(bad).status.ok());
  bad = TextQuestion();
  bad.set_model("another");
  EXPECT_FALSE(Ask(bad).ok());
  const MetricsPage page = Page();
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "INVALID_ARGUMENT"}, {"finish_reason", "none"}}), 2);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "NOT_FOUND"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Total("diptych_requests_total"), 3);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "OPTION_RANGE"}}), 2);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "MODEL_UNKNOWN"}}), 1);
  EXPECT_EQ(page.Value("diptych_time_to_first_token_seconds_count"), 0);
}

TEST_F(GatewayMetricsTest, RunningFollowsTheCallsInFlight) {
  testing::FakeLanguageTier language([this](int, grpc::ServerContext*, const v1::GenerateRequest&, auto* writer) {
    EXPECT_EQ(Page().Value("diptych_requests_running"), 1);
    EXPECT_GT(Page().Value("diptych_inflight_bytes"), 0);
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage("text"));
    return grpc::Status::OK;
  });
  Start(language);
  EXPECT_EQ(Page().Value("diptych_requests_running"), 0);
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  EXPECT_EQ(Page().Total("diptych_requests_total"), 1);
}

TEST_F(GatewayMetricsTest, CountsQuestionsThatWereSentAgain) {
  testing::FakeLanguageTier language([](int call, grpc::ServerContext*, const v1::GenerateRequest&, auto* writer) {
    if (call == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage("text"));
    return grpc::Status::OK;
  });
  Start(language);
  EXPECT_TRUE(Ask(TextQuestion()).ok());
  const MetricsPage page = Page();
  EXPECT_EQ(page.Value("diptych_retries_total", {{"tier", "language"}}), 1);
  EXPECT_EQ(page.Total("diptych_requests_total"), 1);
}

TEST_F(GatewayMetricsTest, NothingThatACallerSaysIsShown) {
  testing::FakeLanguageTier language;
  Start(language);
  v1::Question question;
  question.set_prompt("marker-prompt");
  question.set_request_id("marker-id");
  question.mutable_generation()->add_stop("marker-stop");
  EXPECT_TRUE(Ask(question).ok());
  question.set_model("marker-model");
  EXPECT_FALSE(Ask(question).ok());
  const std::string page = testing::Exchange(
      gateway_->metrics_port(), "GET /metrics?marker-query HTTP/1.1\r\nHost: localhost\r\nX-Name: marker-name\r\n\r\n");
  EXPECT_THAT(page, HasSubstr("diptych_requests_total"));
  EXPECT_THAT(page, Not(HasSubstr("marker")));
  EXPECT_THAT(page, Not(HasSubstr("/tmp")));
}

TEST_F(GatewayMetricsTest, ServesWithoutThemToo) {
  testing::FakeLanguageTier language;
  StartGateway(language.target());
  EXPECT_EQ(gateway_->metrics_port(), 0);
  EXPECT_TRUE(Ask(TextQuestion()).ok());
}

}  // namespace
}  // namespace diptych::gateway
