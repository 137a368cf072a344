// Metrics of answers, for the gateway and the language service.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/metrics/call_metrics.h"
#include "common/metrics/metrics.h"
#include "common/metrics/token_gaps.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// Upper ends of buckets for the time between two tokens, in seconds.
std::vector<double> TokenBuckets();

// Thread-safe.
class AnswerMetrics {
 public:
  // `stages`: those of v1::StageTimings that this process knows.
  AnswerMetrics(MetricRegistry& registry, std::span<const Stage> stages);

  // A call ended: OK with `answer`, or with an error and null. `trace_id`: empty where its trace is not recorded.
  void Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took, std::string_view trace_id = {});
  void TokensArrived(const TokenGaps& gaps);

 private:
  CallMetrics calls_;
  StageMetrics stages_;
  Counter prompt_tokens_;
  Counter generation_tokens_;
  Histogram time_to_first_token_;
  Histogram inter_token_latency_;
  Histogram context_remaining_;
};

}  // namespace diptych
