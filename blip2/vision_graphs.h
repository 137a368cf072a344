// Passes of the vision transformer that are recorded once for each size of batch, and then given to the card by one
// launch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>

#include "blip2/cuda/recording.h"
#include "blip2/vision_model.h"

namespace diptych::blip2 {

// Images of the model's own size, unmerged, go through the recorded pass of 1, 2, 4, 8, 16 or 32; others, and all after
// a failure, as before. Confined to the thread that runs the model.
class VisionGraphs {
 public:
  // `model` must outlive this.
  VisionGraphs(RecordStep record, Recording::OnFailure on_failure, const VisionModel& model);

  // As VisionModel::Forward.
  at::Tensor Forward(const at::Tensor& pixel_values, int merging = 0);

 private:
  struct Pass {
    at::Tensor pixels;       // [B, 3, S, S] float32; of fewer images the rest is left from others, or black
    at::Tensor tokens = {};  // [B, P, Dv]
    std::function<void()> replay = nullptr;
  };
  bool IsRecorded(const at::Tensor& pixel_values, int merging) const;
  Pass& PassOf(const at::Tensor& pixels);
  void Replay(Pass& pass);

  Recording recording_;
  const VisionModel& model_;
  std::map<int64_t, Pass> passes_;  // by B
};

}  // namespace diptych::blip2
