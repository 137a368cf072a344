// The visual tokens of one image as they come from the vision tier.
#pragma once

#include <string>

#include "common/stage_clock.h"
#include "diptych/v1/vision.pb.h"

namespace diptych::language {

// Timings that the vision tier reports.
struct VisionTimings {
  SteadyDuration image_decode{};
  SteadyDuration image_resize{};
  SteadyDuration queue{};
  SteadyDuration vit{};
  bool cache_hit = false;
  std::string replica = {};  // address of the one that sent the tokens
};

// [P, Dv] as they are streamed, all finite.
struct VisualTokens {
  std::string bytes;
  v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED;
  int tokens = 0;  // P
  int width = 0;   // Dv
  VisionTimings timings;
};

}  // namespace diptych::language
