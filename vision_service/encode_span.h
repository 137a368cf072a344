// An image's stages as parts of a trace.
#pragma once

#include "common/tracing/span.h"
#include "vision_service/visual_tokens.h"

namespace diptych::vision {

// One after the other, in the order of v1::StageTimings, though the queue is waited in twice.
void AddStages(const Span& span, const EncodeTimings& timings, SteadyTime arrival);

}  // namespace diptych::vision
