#include "common/stage_clock.h"

#include <algorithm>

namespace diptych {

void StageClock::Lap(Stage stage, SteadyTime now) {
  LapSplit({}, stage, now);
}

void StageClock::LapSplit(std::span<const std::pair<Stage, SteadyDuration>> parts, Stage rest, SteadyTime now) {
  SteadyDuration left = std::max(now - last_, SteadyDuration::zero());
  for (const auto& [stage, claimed] : parts) {
    const SteadyDuration share = std::clamp(claimed, SteadyDuration::zero(), left);
    spent_[static_cast<size_t>(stage)] += share;
    left -= share;
  }
  spent_[static_cast<size_t>(rest)] += left;
  last_ = std::max(last_, now);
}

v1::StageTimings StageClock::ToProto(SteadyTime now) const {
  v1::StageTimings timings;
  const auto set = [this](google::protobuf::Duration* field, Stage stage) { *field = ToProtoDuration(spent(stage)); };
  set(timings.mutable_gateway(), Stage::kGateway);
  set(timings.mutable_image_decode(), Stage::kImageDecode);
  set(timings.mutable_image_resize(), Stage::kImageResize);
  set(timings.mutable_vision_queue(), Stage::kVisionQueue);
  set(timings.mutable_vit(), Stage::kVit);
  set(timings.mutable_token_transfer(), Stage::kTokenTransfer);
  set(timings.mutable_language_queue(), Stage::kLanguageQueue);
  set(timings.mutable_tokenize(), Stage::kTokenize);
  set(timings.mutable_qformer(), Stage::kQFormer);
  set(timings.mutable_prefill(), Stage::kPrefill);
  set(timings.mutable_decode(), Stage::kDecode);
  set(timings.mutable_detokenize(), Stage::kDetokenize);
  const SteadyTime end = std::max(now, last_);
  *timings.mutable_unattributed() = ToProtoDuration(end - last_);
  *timings.mutable_total() = ToProtoDuration(end - start_);
  return timings;
}

double ToSeconds(SteadyDuration duration) {
  return std::chrono::duration<double>(duration).count();
}

google::protobuf::Duration ToProtoDuration(SteadyDuration duration) {
  const int64_t nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  google::protobuf::Duration proto;
  proto.set_seconds(nanoseconds / 1'000'000'000);
  proto.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return proto;
}

SteadyDuration FromProtoDuration(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

}  // namespace diptych
