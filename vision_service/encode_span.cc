#include "vision_service/encode_span.h"

#include <array>
#include <utility>

#include "common/stage.h"

namespace diptych::vision {

void AddStages(const Span& span, const EncodeTimings& timings, SteadyTime arrival) {
  const std::array stages = {std::pair{Stage::kVisionQueue, timings.queue},
                             std::pair{Stage::kImageDecode, timings.image_decode},
                             std::pair{Stage::kImageResize, timings.image_resize}, std::pair{Stage::kVit, timings.vit}};
  for (const auto& [stage, took] : stages) {
    span.AddPart(NameOf(stage), arrival, took);
    arrival += took;
  }
}

}  // namespace diptych::vision
