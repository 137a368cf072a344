#include "language_service/vllm_metrics.h"

#include "common/metrics/answer_metrics.h"
#include "common/metrics/call_metrics.h"

namespace diptych::language {
namespace {

MetricLabels WithReason(MetricLabels labels, const std::string& reason) {
  labels.emplace("finished_reason", reason);
  return labels;
}

constexpr char kSuccess[] = "vllm:request_success_total";
constexpr char kSuccessHelp[] = "Requests that ended, by why.";

}  // namespace

VllmMetrics::VllmMetrics(MetricRegistry& registry, const std::string& model_name, const KvCacheShape& kv_cache)
    : labels_{{"model_name", model_name}, {"engine", "0"}},
      running_(registry.AddGauge("vllm:num_requests_running", "Requests in the running batch.", labels_)),
      waiting_(registry.AddGauge("vllm:num_requests_waiting", "Requests that wait for the batch.", labels_)),
      kv_cache_usage_(registry.AddGauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", labels_)),
      prefix_queries_(
          registry.AddCounter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the KV cache.", labels_)),
      prefix_hits_(
          registry.AddCounter("vllm:prefix_cache_hits_total", "Prompt tokens found in the KV cache.", labels_)),
      image_queries_(registry.AddCounter("vllm:mm_cache_queries_total",
                                         "Images looked up in the cache of query tokens.", labels_)),
      image_hits_(registry.AddCounter("vllm:mm_cache_hits_total", "Images found there.", labels_)),
      preemptions_(
          registry.AddCounter("vllm:num_preemptions_total", "Requests that gave up their KV blocks.", labels_)),
      prompt_tokens_(registry.AddCounter("vllm:prompt_tokens_total", "Tokens of prompts.", labels_)),
      generation_tokens_(registry.AddCounter("vllm:generation_tokens_total", "Generated tokens.", labels_)),
      stop_(registry.AddCounter(kSuccess, kSuccessHelp, WithReason(labels_, "stop"))),
      length_(registry.AddCounter(kSuccess, kSuccessHelp, WithReason(labels_, "length"))),
      abort_(registry.AddCounter(kSuccess, kSuccessHelp, WithReason(labels_, "abort"))),
      error_(registry.AddCounter(kSuccess, kSuccessHelp, WithReason(labels_, "error"))),
      first_token_(registry.AddHistogram("vllm:time_to_first_token_seconds", "From arrival to the first piece of text.",
                                         RequestBuckets(), labels_)),
      inter_token_(registry.AddHistogram("vllm:inter_token_latency_seconds", "Between two tokens of a request.",
                                         TokenBuckets(), labels_)),
      per_output_token_(registry.AddHistogram("vllm:time_per_output_token_seconds",
                                              "The same, under the name of earlier versions.", TokenBuckets(),
                                              labels_)),
      request_per_output_token_(registry.AddHistogram("vllm:request_time_per_output_token_seconds",
                                                      "Mean time between two tokens of a request.", TokenBuckets(),
                                                      labels_)),
      whole_(registry.AddHistogram("vllm:e2e_request_latency_seconds", "From arrival to the end of an answer.",
                                   RequestBuckets(), labels_)),
      queue_(registry.AddHistogram("vllm:request_queue_time_seconds", "Waiting for the engine.", RequestBuckets(),
                                   labels_)),
      inference_(registry.AddHistogram("vllm:request_inference_time_seconds", "Prefill and decode together.",
                                       RequestBuckets(), labels_)),
      prefill_(registry.AddHistogram("vllm:request_prefill_time_seconds", "Prefill of a request.", RequestBuckets(),
                                     labels_)),
      decode_(registry.AddHistogram("vllm:request_decode_time_seconds", "Decode of a request.", RequestBuckets(),
                                    labels_)) {
  MetricLabels config{{"engine", "0"},
                      {"block_size", std::to_string(kv_cache.block_tokens)},
                      {"num_gpu_blocks", std::to_string(kv_cache.blocks)}};
  registry.AddGauge("vllm:cache_config_info", "Always 1; its labels are the shape of the KV cache.", config).Set(1);
}

void VllmMetrics::Ended(const absl::Status& status, const v1::Answer* answer, SteadyDuration took) {
  if (answer == nullptr) {
    const bool left = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
    return (left ? abort_ : error_).Add();
  }
  (answer->finish_reason() == v1::FINISH_REASON_LENGTH ? length_ : stop_).Add();
  prompt_tokens_.Add(answer->usage().prompt_tokens());
  generation_tokens_.Add(answer->usage().completion_tokens());
  whole_.Observe(ToSeconds(took));
  ObserveTimings(*answer);
}

void VllmMetrics::ObserveTimings(const v1::Answer& answer) {
  const auto seconds = [](const google::protobuf::Duration& duration) {
    return ToSeconds(FromProtoDuration(duration));
  };
  const v1::StageTimings& timings = answer.timings();
  const double prefill = seconds(timings.prefill());
  double decode = 0;  // all that lies between the first token and the last, as with vLLM
  for (const Stage stage : {Stage::kDecode, Stage::kDecodeQueue, Stage::kDetokenize, Stage::kDelivery}) {
    decode += seconds(TimeOf(timings, stage));
  }
  first_token_.Observe(seconds(timings.time_to_first_token()));
  queue_.Observe(seconds(timings.language_queue()));
  inference_.Observe(prefill + decode);
  prefill_.Observe(prefill);
  decode_.Observe(decode);
  const int later_tokens = answer.usage().completion_tokens() - 1;
  if (later_tokens > 0) request_per_output_token_.Observe(decode / later_tokens);
}

void VllmMetrics::TokensArrived(const TokenGaps& gaps) {
  inter_token_.Observe(ToSeconds(gaps.each), gaps.count);
  per_output_token_.Observe(ToSeconds(gaps.each), gaps.count);
}

void VllmMetrics::Refresh(const VllmSnapshot& snapshot) {
  running_.Set(static_cast<double>(snapshot.running));
  waiting_.Set(static_cast<double>(snapshot.waiting));
  kv_cache_usage_.Set(snapshot.kv_cache_usage);
  prefix_queries_.RaiseTo(static_cast<double>(snapshot.prefix_queries));
  prefix_hits_.RaiseTo(static_cast<double>(snapshot.prefix_hits));
  image_queries_.RaiseTo(static_cast<double>(snapshot.image_queries));
  image_hits_.RaiseTo(static_cast<double>(snapshot.image_hits));
  preemptions_.RaiseTo(static_cast<double>(snapshot.preemptions));
}

}  // namespace diptych::language
