// The vision model as the service sees it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/device/transfer.h"
#include "blip2/vision_model.h"
#include "diptych/v1/inference.pb.h"
#include "vision_service/options.h"

namespace diptych::vision {

struct ServedVisionModel {
  // pixel_values [B, 3, S, S] float32 on the CPU or from `upload` -> visual tokens [B, P, Dv], on any device; `merging`
  // as in blip2::VisionModel. May throw, as libtorch does. Called by the engine thread alone.
  using Encode = std::function<at::Tensor(const at::Tensor& pixel_values, int merging)>;

  // The same pixels -> tokens and the class token's attention, on any device: blip2::VisionModel::Analyze. Likewise.
  using Analyze = std::function<blip2::VisionAnalysis(const at::Tensor& pixel_values)>;

  v1::ModelDescription description;
  blip2::ImageProcessorConfig image_processor;
  Encode encode;
  Analyze analyze;
  // On the CPU both are empty. As blip2::Pin, for any thread; as blip2::SideUploads::Send.
  std::function<at::Tensor(const at::Tensor& pixel_values)> pin = nullptr;
  std::function<blip2::SideUpload(const at::Tensor& pixel_values)> upload = nullptr;
};

// Loads the vision half of the checkpoint in options.model. The error is one line that names the file, tensor or
// option at fault.
absl::StatusOr<ServedVisionModel> LoadVisionModel(const VisionOptions& options);

}  // namespace diptych::vision
