// The stages of an answer's timings, added up.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <string>

#include "common/stage.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::testing {

// Of every stage, and of what none accounts for: what `total` must be.
inline SteadyDuration StageSum(const v1::StageTimings& timings) {
  const auto& message = *timings.GetReflection();
  const auto& type = *v1::StageTimings::descriptor();
  SteadyDuration sum{};
  const auto add = [&](const std::string& name) {
    sum += FromProtoDuration(
        dynamic_cast<const google::protobuf::Duration&>(message.GetMessage(timings, type.FindFieldByName(name))));
  };
  for (int stage = 0; stage < static_cast<int>(Stage::kCount); ++stage) {
    add(std::string(NameOf(static_cast<Stage>(stage))));
  }
  add("unattributed");
  return sum;
}

}  // namespace diptych::testing
