#include "common/metrics/call_metrics.h"

#include <string>

#include "common/error_details.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr char kOtherReason[] = "other";

constexpr std::array kFinishReasons = {"none", "stop", "length", "stop_string", "cancelled", "deadline"};
static_assert(kFinishReasons.size() == v1::FinishReason_ARRAYSIZE);

}  // namespace

std::vector<double> StageBuckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

std::vector<double> RequestBuckets() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300};
}

CallMetrics::CallMetrics(MetricRegistry& registry)
    : seconds_(registry.AddHistogram("diptych_request_seconds",
                                     "Wall-clock time of a call from its arrival to its end, however it ended.",
                                     RequestBuckets())) {
  const auto ended = [&](absl::StatusCode code, const char* finish_reason) {
    return registry.AddCounter("diptych_requests_total", "Calls that ended, by gRPC status and why generation ended.",
                               {{"code", absl::StatusCodeToString(code)}, {"finish_reason", finish_reason}});
  };
  for (const char* finish_reason : kFinishReasons) finished_.push_back(ended(absl::StatusCode::kOk, finish_reason));
  for (int code = 0; code <= static_cast<int>(absl::StatusCode::kUnauthenticated); ++code) {
    failed_.push_back(ended(static_cast<absl::StatusCode>(code), kFinishReasons[0]));
  }
  const auto failed = [&](const std::string& reason) {
    reasons_.emplace(reason, registry.AddCounter(
                                 "diptych_errors_total",
                                 "Calls that ended with an error, by its stable reason; 'other' is any that is rare.",
                                 {{"reason", reason}}));
  };
  for (const std::string_view reason : reason::kAll) failed(std::string(reason));
  for (const std::string_view reason : reason::kOfCodes) failed(std::string(reason));
  failed(kOtherReason);
}

void CallMetrics::Ended(const absl::Status& status, v1::FinishReason finish_reason, SteadyDuration took,
                        std::string_view trace_id) {
  seconds_.ObserveTraced(ToSeconds(took), trace_id);
  if (status.ok()) return finished_[v1::FinishReason_IsValid(finish_reason) ? finish_reason : 0].Add();
  const auto code = static_cast<size_t>(status.code());
  failed_[code < failed_.size() ? code : static_cast<size_t>(absl::StatusCode::kUnknown)].Add();
  const auto reason = reasons_.find(PublicReasonOf(status));
  (reason != reasons_.end() ? reason : reasons_.find(kOtherReason))->second.Add();
}

StageMetrics::StageMetrics(MetricRegistry& registry, std::span<const Stage> stages) {
  for (const Stage stage : stages) {
    const auto index = static_cast<size_t>(stage);
    seconds_[index] = registry.AddHistogram("diptych_stage_seconds",
                                            "Wall-clock time that a request spent in a stage; the stages are disjoint.",
                                            StageBuckets(), {{"stage", std::string(NameOf(stage))}});
  }
}

void StageMetrics::Observe(Stage stage, SteadyDuration spent, std::string_view trace_id) {
  if (spent <= SteadyDuration::zero()) return;
  seconds_[static_cast<size_t>(stage)]->ObserveTraced(ToSeconds(spent), trace_id);
}

void StageMetrics::Observe(const v1::StageTimings& timings, std::string_view trace_id) {
  for (size_t i = 0; i < seconds_.size(); ++i) {
    const auto stage = static_cast<Stage>(i);
    if (seconds_[i]) Observe(stage, FromProtoDuration(TimeOf(timings, stage)), trace_id);
  }
}

}  // namespace diptych
