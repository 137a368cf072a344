// What a scrape of the language service shows after known requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <thread>

#include "common/replicas/tier_errors.h"
#include "tests/language_service/language_fixture.h"
#include "tests/testing/metrics_page.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using ::testing::HasSubstr;
using testing::MetricsPage;
using ::testing::Not;
using testing::ScriptedAnswer;

class LanguageMetricsTest : public testing::LanguageFixture {
 protected:
  LanguageMetricsTest() { options_.metrics_listen = "127.0.0.1:0"; }

  // Once the engine has counted what it did.
  MetricsPage Page() {
    while (server_->stats().engine.requests_running > 0 || server_->stats().inflight_bytes > 0)
      std::this_thread::yield();
    return testing::Scrape(server_->metrics_port());
  }
};

TEST_F(LanguageMetricsTest, CountsAnswersTokensAndPasses) {
  Start();
  EXPECT_EQ(Page().Total("diptych_requests_total"), 0);
  const GenerateOutcome first = AskText();
  ASSERT_TRUE(first.status.ok()) << first.status;
  const auto& usage = first.answer().usage();
  MetricsPage page = Page();
  EXPECT_EQ(page.Total("diptych_requests_total"), 1);
  EXPECT_EQ(page.Total("diptych_errors_total"), 0);
  EXPECT_EQ(page.Value("diptych_prompt_tokens_total"), usage.prompt_tokens());
  EXPECT_EQ(page.Value("diptych_generation_tokens_total"), usage.completion_tokens());
  EXPECT_EQ(page.Value("diptych_inter_token_latency_seconds_count"), usage.completion_tokens() - 1);
  EXPECT_EQ(page.Value("diptych_time_to_first_token_seconds_count"), 1);
  EXPECT_EQ(page.Value("diptych_context_remaining_tokens_sum"), first.answer().context_budget().remaining());
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "prefill"}}), 1);
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "vit"}}), 0);
  EXPECT_EQ(page.Value("diptych_batch_size_count", {{"tier", "language"}}), server_->stats().engine.passes);
  EXPECT_EQ(page.Value("diptych_batch_size_bucket", {{"tier", "language"}, {"le", "1"}}),
            server_->stats().engine.passes);
  EXPECT_EQ(page.Value("diptych_cache_queries_total", {{"cache", "kv_prefix"}}), usage.prompt_tokens());
  EXPECT_EQ(page.Value("diptych_requests_running"), 0);
  EXPECT_EQ(page.Value("diptych_requests_waiting"), 0);
  EXPECT_EQ(page.Value("diptych_kv_cache_usage_ratio"), 0);
  EXPECT_EQ(page.Value("diptych_preemptions_total"), 0);
  const GenerateOutcome second = AskText();
  page = Page();
  EXPECT_EQ(page.Total("diptych_requests_total"), 2);
  EXPECT_EQ(page.Value("diptych_cache_hits_total", {{"cache", "kv_prefix"}}), second.answer().usage().cached_tokens());
}

TEST_F(LanguageMetricsTest, CountsRefusalsByReason) {
  Start();
  v1::GenerateRequest request = testing::TextRequest("the cat");
  request.mutable_question()->mutable_generation()->set_top_p(7);
  EXPECT_FALSE(Ask(request).status.ok());
  EXPECT_FALSE(AskImage().status.ok());  // nobody serves vision
  const MetricsPage page = Page();
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "INVALID_ARGUMENT"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "UNAVAILABLE"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "OPTION_RANGE"}}), 1);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "TIER_UNAVAILABLE"}}), 1);
  EXPECT_GE(page.Value("diptych_retries_total", {{"tier", "vision"}}), 2);
  EXPECT_EQ(page.Value("diptych_generation_tokens_total"), 0);
}

TEST_F(LanguageMetricsTest, CountsImagesAndTheirTokens) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); });
  ASSERT_TRUE(AskImage().status.ok());
  ASSERT_TRUE(AskImage().status.ok());  // from the cache
  const MetricsPage page = Page();
  EXPECT_EQ(page.Value("diptych_cache_queries_total", {{"cache", "projected_tokens"}}), 2);
  EXPECT_EQ(page.Value("diptych_cache_hits_total", {{"cache", "projected_tokens"}}), 1);
  EXPECT_GT(page.Value("diptych_cache_bytes", {{"cache", "projected_tokens"}}), 0);
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "qformer"}}), 1);
  EXPECT_GT(page.Value("diptych_visual_tokens_total"), 0);
  EXPECT_EQ(page.Total("diptych_vision_protocol_errors_total"), 0);
}

TEST_F(LanguageMetricsTest, TellsWhatIsWrongWithRogueVisualTokens) {
  options_.cache_bytes = 0;
  const std::pair<const char*, std::function<void(ScriptedAnswer&)>> cases[] = {
      {"shape", [](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_tokens(1 << 30); }},
      {"dtype", [](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_dtype(v1::NUMBER_TYPE_UNSPECIFIED); }},
      {"image", [](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_image_key("another"); }},
      {"model", [](ScriptedAnswer& a) { a.messages[0].mutable_header()->set_model_fingerprint("another"); }},
      {"checksum", [](ScriptedAnswer& a) { a.messages[1].mutable_chunk()->set_crc32c(7); }},
      {"order", [](ScriptedAnswer& a) { std::swap(a.messages[0], a.messages[1]); }},
      {"size", [](ScriptedAnswer& a) { a.messages.erase(a.messages.end() - 2); }}};
  StartWithVision([&cases](const v1::EncodeImageRequest& request, int call) {  // each image is asked for anew
    ScriptedAnswer answer = True(request);
    cases[call / kMaxTierAttempts].second(answer);
    return answer;
  });
  for (size_t i = 0; i < std::size(cases); ++i) EXPECT_FALSE(AskImage().status.ok()) << cases[i].first;
  const MetricsPage page = Page();
  for (const auto& [reason, corrupt] : cases) {
    EXPECT_EQ(page.Value("diptych_vision_protocol_errors_total", {{"reason", reason}}), kMaxTierAttempts) << reason;
  }
  EXPECT_EQ(page.Total("diptych_vision_protocol_errors_total"), kMaxTierAttempts * std::size(cases));
  EXPECT_EQ(page.Value("diptych_visual_tokens_total"), 0);
}

TEST_F(LanguageMetricsTest, ShowsVllmsNamesOnRequest) {
  Start();
  EXPECT_THAT(testing::Exchange(server_->metrics_port(), "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"),
              Not(HasSubstr("vllm")));
  options_.vllm_metric_names = true;
  Start();
  const GenerateOutcome outcome = AskText();
  ASSERT_TRUE(outcome.status.ok());
  const std::string name = server_->model().name();
  const testing::Labels labels{{"model_name", name}, {"engine", "0"}};
  const MetricsPage page = Page();
  EXPECT_EQ(page.Total("vllm:request_success_total"), 1);
  EXPECT_EQ(page.Value("vllm:prompt_tokens_total", labels), outcome.answer().usage().prompt_tokens());
  EXPECT_EQ(page.Value("vllm:generation_tokens_total", labels), outcome.answer().usage().completion_tokens());
  EXPECT_EQ(page.Value("vllm:prefix_cache_queries_total", labels), outcome.answer().usage().prompt_tokens());
  EXPECT_EQ(page.Value("vllm:time_to_first_token_seconds_count", labels), 1);
  EXPECT_EQ(page.Value("vllm:e2e_request_latency_seconds_count", labels), 1);
  EXPECT_EQ(page.Value("vllm:inter_token_latency_seconds_count", labels),
            outcome.answer().usage().completion_tokens() - 1);
  EXPECT_EQ(page.Value("vllm:num_requests_running", labels), 0);
  EXPECT_EQ(page.Value("vllm:num_requests_waiting", labels), 0);
  EXPECT_EQ(page.Value("vllm:kv_cache_usage_perc", labels), 0);
  EXPECT_EQ(page.Value("vllm:cache_config_info",
                       {{"engine", "0"},
                        {"block_size", std::to_string(server_->stats().engine.kv_block_tokens)},
                        {"num_gpu_blocks", std::to_string(server_->stats().engine.kv_blocks_total)}}),
            1);
}

}  // namespace
}  // namespace diptych::language
