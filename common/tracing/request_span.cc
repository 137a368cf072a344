#include "common/tracing/request_span.h"

#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "common/grpc/metadata.h"

namespace diptych {
namespace {

constexpr size_t kMaxValueBytes = 128;

constexpr std::array kOfImages = {Stage::kImageDecode, Stage::kImageResize, Stage::kVisionQueue, Stage::kVit,
                                  Stage::kTokenTransfer};
// As v1::StageTimings orders them.
constexpr std::array kAfterImages = {Stage::kQFormer,  Stage::kLanguageQueue, Stage::kPrefill, Stage::kDetokenize,
                                     Stage::kDelivery, Stage::kDecodeQueue,   Stage::kDecode,  Stage::kRelevance};

// A caller's own id has been checked at the gateway, but a tier takes calls from every holder of a certificate.
void SetChecked(Span& span, std::string_view name, std::string_view value) {
  if (value.size() <= kMaxValueBytes && IsMetadataValue(value)) span.Set(name, value);
}

// "stop" of FINISH_REASON_STOP.
std::string NameOfReason(v1::FinishReason reason) {
  constexpr std::string_view kPrefix = "FINISH_REASON_";
  const std::string& name = v1::FinishReason_Name(reason);
  return name.starts_with(kPrefix) ? absl::AsciiStrToLower(name.substr(kPrefix.size())) : "";
}

}  // namespace

void SetRequest(Span& span, std::string_view request_id, std::string_view key_name) {
  SetChecked(span, "diptych.request_id", request_id);
  SetChecked(span, "diptych.key", key_name);
}

void SetTokens(Span& span, int64_t prompt_tokens, int64_t generated_tokens) {
  span.SetCount("gen_ai.usage.input_tokens", prompt_tokens);
  span.SetCount("gen_ai.usage.output_tokens", generated_tokens);
}

void SetAnswer(Span& span, const v1::Answer& answer) {
  if (!span.recorded()) return;
  span.Set("gen_ai.response.model", answer.model());
  span.Set("diptych.finish_reason", NameOfReason(answer.finish_reason()));
  const v1::CacheHits& hits = answer.timings().cache_hits();
  span.SetCount("diptych.cache_hits.vision_tokens", hits.vision_tokens());
  span.SetCount("diptych.cache_hits.projected_tokens", hits.projected_tokens());
  span.SetCount("diptych.cache_hits.kv_prefix", hits.kv_prefix());
}

void AddStages(const Span& span, const v1::StageTimings& timings, SteadyTime arrival) {
  if (!span.recorded()) return;
  const auto add = [&](std::string_view name, SteadyDuration took) {
    span.AddPart(name, arrival, took);
    arrival += took;
  };
  const auto time_of = [&](Stage stage) { return FromProtoDuration(TimeOf(timings, stage)); };
  arrival += time_of(Stage::kGateway);  // also that of digesting the images, which comes after tokenizing
  add(NameOf(Stage::kTokenize), time_of(Stage::kTokenize));
  SteadyDuration images{};
  for (const Stage stage : kOfImages) images += time_of(stage);
  add("images", images);
  for (const Stage stage : kAfterImages) add(NameOf(stage), time_of(stage));
}

void EndAttempt(Span& span, int attempt, std::string_view address, const absl::Status& status) {
  span.SetCount("diptych.attempt", attempt);
  span.Set("diptych.replica", address);
  span.End(status);
}

}  // namespace diptych
