#include "common/metrics/call_metrics.h"

#include <gtest/gtest.h>

#include <array>

#include "common/metrics/answer_metrics.h"
#include "common/metrics/process_metrics.h"
#include "common/process/build_info.h"
#include "common/status.h"
#include "tests/testing/metrics_page.h"

namespace diptych {
namespace {

using std::chrono::milliseconds;

testing::MetricsPage Read(const MetricRegistry& registry) {
  const auto page = testing::ParseMetricsPage(registry.Exposition());
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *page : testing::MetricsPage();
}

TEST(CallMetricsTest, CountsEachEndOnceByCodeFinishReasonAndReason) {
  MetricRegistry registry;
  CallMetrics metrics(registry);
  metrics.Ended(absl::OkStatus(), v1::FINISH_REASON_STOP, milliseconds(20));
  metrics.Ended(absl::OkStatus(), v1::FINISH_REASON_LENGTH, milliseconds(20));
  metrics.Ended(absl::OkStatus(), v1::FINISH_REASON_STOP, milliseconds(20));
  metrics.Ended(absl::OkStatus(), v1::FINISH_REASON_UNSPECIFIED, milliseconds(20));
  metrics.Ended(MakeError(absl::StatusCode::kResourceExhausted, reason::kKvFull, "full"), v1::FINISH_REASON_UNSPECIFIED,
                milliseconds(20));
  metrics.Ended(absl::InternalError("oops"), v1::FINISH_REASON_UNSPECIFIED, milliseconds(20));
  const auto page = Read(registry);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "OK"}, {"finish_reason", "stop"}}), 2);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "OK"}, {"finish_reason", "length"}}), 1);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "OK"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "RESOURCE_EXHAUSTED"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "INTERNAL"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Total("diptych_requests_total"), 6);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "KV_FULL"}}), 1);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "INTERNAL"}}), 1);
  EXPECT_EQ(page.Total("diptych_errors_total"), 2);
  EXPECT_EQ(page.Value("diptych_request_seconds_count"), 6);
}

TEST(CallMetricsTest, WhatAPeerMakesUpBecomesNoLabel) {
  MetricRegistry registry;
  CallMetrics metrics(registry);
  const size_t series = Read(registry).samples.size();
  metrics.Ended(MakeError(static_cast<absl::StatusCode>(1234), "INVENTED", "x"), static_cast<v1::FinishReason>(99),
                milliseconds(1));
  metrics.Ended(absl::OkStatus(), static_cast<v1::FinishReason>(99), milliseconds(1));
  const auto page = Read(registry);
  EXPECT_EQ(page.samples.size(), series);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "other"}}), 1);
  EXPECT_EQ(page.Total("diptych_requests_total"), 2);
}

TEST(StageMetricsTest, ObservesTheStagesThatHappened) {
  MetricRegistry registry;
  constexpr std::array kStages = {Stage::kVit, Stage::kTokenize};
  StageMetrics metrics(registry, kStages);
  v1::StageTimings timings;
  *timings.mutable_vit() = ToProtoDuration(milliseconds(250));
  *timings.mutable_prefill() = ToProtoDuration(milliseconds(100));
  metrics.Observe(timings);
  const auto page = Read(registry);
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "vit"}}), 1);
  EXPECT_EQ(page.Value("diptych_stage_seconds_sum", {{"stage", "vit"}}), 0.25);
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "tokenize"}}), 0);
  EXPECT_EQ(page.Total("diptych_stage_seconds_count"), 1);
}

TEST(AnswerMetricsTest, CountsTokensAndTimesOfAnAnswer) {
  MetricRegistry registry;
  AnswerMetrics metrics(registry, {});
  v1::Answer answer;
  answer.set_finish_reason(v1::FINISH_REASON_STOP);
  answer.mutable_usage()->set_prompt_tokens(17);
  answer.mutable_usage()->set_completion_tokens(3);
  answer.mutable_context_budget()->set_remaining(140);
  *answer.mutable_timings()->mutable_time_to_first_token() = ToProtoDuration(milliseconds(500));
  metrics.Ended(absl::OkStatus(), &answer, milliseconds(700));
  metrics.Ended(absl::CancelledError(""), nullptr, milliseconds(1));
  metrics.TokensArrived({.count = 4, .each = milliseconds(250)});
  const auto page = Read(registry);
  EXPECT_EQ(page.Value("diptych_prompt_tokens_total"), 17);
  EXPECT_EQ(page.Value("diptych_generation_tokens_total"), 3);
  EXPECT_EQ(page.Value("diptych_time_to_first_token_seconds_sum"), 0.5);
  EXPECT_EQ(page.Value("diptych_time_to_first_token_seconds_count"), 1);
  EXPECT_EQ(page.Value("diptych_inter_token_latency_seconds_count"), 4);
  EXPECT_EQ(page.Value("diptych_inter_token_latency_seconds_sum"), 1);
  EXPECT_EQ(page.Value("diptych_context_remaining_tokens_sum"), 140);
  EXPECT_EQ(page.Total("diptych_requests_total"), 2);
}

TEST(ProcessMetricsTest, SaysWhichProgramServesWhat) {
  MetricRegistry registry;
  v1::ModelDescription model;
  model.set_name("demo");
  model.set_dtype("float32");
  model.set_device("cpu");
  AddProcessMetrics(registry, "vision", &model);
  const auto page = Read(registry);
  EXPECT_EQ(page.Value("diptych_build_info", {{"tier", "vision"},
                                              {"version", std::string(Version())},
                                              {"commit", std::string(Commit())},
                                              {"model", "demo"},
                                              {"dtype", "float32"},
                                              {"device", "cpu"}}),
            1);
  EXPECT_GT(page.Value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(page.Value("process_cpu_seconds_total"), 0);
  EXPECT_GT(page.Value("process_open_fds"), 2);
  EXPECT_GE(page.Value("process_max_fds"), page.Value("process_open_fds"));
  EXPECT_GT(page.Value("process_start_time_seconds"), 1.7e9);
}

}  // namespace
}  // namespace diptych
