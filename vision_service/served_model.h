// The vision model as the service sees it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/status/statusor.h"
#include "blip2/config.h"
#include "diptych/v1/inference.pb.h"
#include "vision_service/options.h"

namespace diptych {

struct ServedVisionModel {
  // pixel_values [B, 3, S, S] float32 on the CPU -> visual tokens [B, P, Dv], on any device; `merging` as in
  // blip2::VisionModel. May throw, as libtorch does. Called by the engine thread alone.
  using Encode = std::function<at::Tensor(const at::Tensor& pixel_values, int merging)>;

  v1::ModelDescription description;
  blip2::ImageProcessorConfig image_processor;
  Encode encode;
};

// Loads the vision half of the checkpoint in options.model. The error is one line that names the file, tensor or
// option at fault.
absl::StatusOr<ServedVisionModel> LoadVisionModel(const VisionOptions& options);

}  // namespace diptych
