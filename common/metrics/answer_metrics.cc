#include "common/metrics/answer_metrics.h"

#include <vector>

namespace diptych {
namespace {

std::vector<double> ContextBuckets() {
  return {0, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048};
}

}  // namespace

std::vector<double> TokenBuckets() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10};
}

AnswerMetrics::AnswerMetrics(MetricRegistry& registry, std::span<const Stage> stages)
    : calls_(registry),
      stages_(registry, stages),
      prompt_tokens_(
          registry.AddCounter("diptych_prompt_tokens_total",
                              "Tokens of the prompts of finished answers, query tokens of images included.")),
      generation_tokens_(
          registry.AddCounter("diptych_generation_tokens_total", "Generated tokens of finished answers.")),
      time_to_first_token_(registry.AddHistogram("diptych_time_to_first_token_seconds",
                                                 "Time from a request's arrival to its first piece of text.",
                                                 RequestBuckets())),
      inter_token_latency_(registry.AddHistogram("diptych_inter_token_latency_seconds",
                                                 "Time between two tokens of one answer.", TokenBuckets())),
      context_remaining_(registry.AddHistogram("diptych_context_remaining_tokens",
                                               "Positions of the window that were left when an answer ended.",
                                               ContextBuckets())) {}

void AnswerMetrics::Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took,
                          std::string_view trace_id) {
  calls_.Ended(status, answer != nullptr ? answer->finish_reason() : v1::FINISH_REASON_UNSPECIFIED, took, trace_id);
  if (answer == nullptr) return;
  stages_.Observe(answer->timings(), trace_id);
  prompt_tokens_.Add(answer->usage().prompt_tokens());
  generation_tokens_.Add(answer->usage().completion_tokens());
  time_to_first_token_.ObserveTraced(ToSeconds(FromProtoDuration(answer->timings().time_to_first_token())), trace_id);
  context_remaining_.Observe(answer->context_budget().remaining());
}

void AnswerMetrics::TokensArrived(const TokenGaps& gaps) {
  inter_token_latency_.Observe(ToSeconds(gaps.each), gaps.count);
}

}  // namespace diptych
