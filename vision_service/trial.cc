#include "vision_service/trial.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "blip2/device/device_error.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"
#include "common/stage.h"

namespace diptych::vision {

absl::Status TryEncode(const ServedVisionModel::Encode& encode, int image_size) {
  const c10::InferenceMode inference_mode;
  const auto work = [&] {
    if (blip2::AllFinite(encode(at::zeros({1, 3, image_size, image_size}), /*merging=*/0))) return absl::OkStatus();
    return absl::InternalError(
        "the model's numbers are not finite in a trial of the vision transformer: its weights are damaged, or too "
        "large for its dtype; get the checkpoint again, or take --dtype=float32");
  };
  return CatchExceptions(NameOf(Stage::kVit), work, blip2::StatusOfDeviceError);
}

}  // namespace diptych::vision
