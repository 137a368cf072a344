#include "common/stage_clock.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <string>

namespace diptych {
namespace {

// The field of StageTimings that has the stage's name.
const google::protobuf::FieldDescriptor* StageField(Stage stage) {
  return v1::StageTimings::descriptor()->FindFieldByName(std::string(NameOf(stage)));
}

}  // namespace

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
  for (size_t i = 0; i < spent_.size(); ++i) {
    auto* time = timings.GetReflection()->MutableMessage(&timings, StageField(static_cast<Stage>(i)));
    static_cast<google::protobuf::Duration&>(*time) = ToProtoDuration(spent_[i]);
  }
  const SteadyTime end = std::max(now, last_);
  *timings.mutable_unattributed() = ToProtoDuration(end - last_);
  *timings.mutable_total() = ToProtoDuration(end - start_);
  return timings;
}

const google::protobuf::Duration& TimeOf(const v1::StageTimings& timings, Stage stage) {
  return static_cast<const google::protobuf::Duration&>(
      timings.GetReflection()->GetMessage(timings, StageField(stage)));
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
