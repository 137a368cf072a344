#include "vision_service/served_model.h"

#include <memory>
#include <utility>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/memory_plan.h"
#include "blip2/cuda/recording.h"
#include "blip2/device/device.h"
#include "blip2/device/device_memory.h"
#include "blip2/vision_graphs.h"
#include "common/logging/load_progress.h"
#include "common/process/catch_exceptions.h"
#include "common/process/control_groups.h"
#include "common/process/free_memory.h"
#include "common/status.h"
#include "vision_service/trial.h"

namespace diptych::vision {
namespace {

v1::ModelDescription Describe(const blip2::Checkpoint& checkpoint, const blip2::VisionModel& model) {
  const blip2::VisionConfig& config = model.config();
  v1::ModelDescription description;
  description.set_name(checkpoint.name());
  description.set_fingerprint(checkpoint.VisionFingerprint());
  description.set_dtype(blip2::DTypeName(model.placement()));
  description.set_device(model.placement().device.str());
  v1::ModelPart* part = description.add_parts();
  part->set_name("vision");
  part->set_parameters(model.size().parameters);
  part->set_bytes(model.size().bytes);
  part->set_dtype(description.dtype());
  description.set_patch_size(static_cast<int>(config.patch_size));
  description.set_image_size(static_cast<int>(config.image_size));
  description.set_visual_tokens(static_cast<int>(config.visual_tokens()));
  description.set_visual_width(static_cast<int>(config.hidden_size));
  return description;
}

// In which numbers the model is held, if they fit into memory.
absl::StatusOr<blip2::Placement> Place(const VisionOptions& options, const blip2::Config& config) {
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::ChosenPlacement chosen,
                           blip2::ChoosePlacement(options.device, options.dtype, config));
  const blip2::Placement& placement = chosen.placement;
  if (!chosen.reason.empty()) LogChosenDType(blip2::DTypeName(placement), chosen.reason);
  const blip2::MemoryDemand demand = {.part = blip2::ModelPart::kVision, .placement = placement};
  DIPTYCH_RETURN_IF_ERROR(blip2::CheckFits(config, demand, FreeMemoryWithin(options.memory_limit)));
  return placement;
}

// Records the passes that `encode` makes; where that cannot be, says so in the log and leaves it as it is.
ServedVisionModel::Encode Recorded(const std::shared_ptr<const blip2::VisionModel>& model,
                                   ServedVisionModel::Encode encode) {
  absl::StatusOr<blip2::RecordStep> recorder = blip2::MakeCudaRecorder(model->placement().device);
  if (!recorder.ok()) {
    LogNoCudaGraphs(std::string(recorder.status().message()));
    return encode;
  }
  const auto graphs = std::make_shared<blip2::VisionGraphs>(*std::move(recorder), LogNoCudaGraphs, *model);
  return [model, graphs](const at::Tensor& pixels, int merging) { return graphs->Forward(pixels, merging); };
}

void BindUploads(c10::Device card, ServedVisionModel& served) {
  served.pin = [card](const at::Tensor& pixels) { return blip2::Pin(pixels, card); };
  served.upload = [uploads = blip2::SideUploads(card)](const at::Tensor& pixels) { return uploads.Send(pixels); };
}

}  // namespace

absl::StatusOr<ServedVisionModel> LoadVisionModel(const VisionOptions& options) {
  if (options.threads < 0) return absl::InvalidArgumentError("--threads takes 0 or more");
  if (options.device != "cpu") blip2::LimitDeviceMemory(options.memory_fraction);
  DIPTYCH_RETURN_IF_ERROR(blip2::ParsePlacement(options.device, options.dtype).status());
  DIPTYCH_ASSIGN_OR_RETURN(const auto checkpoint, blip2::Checkpoint::Open(options.model));
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Placement placement, Place(options, checkpoint->config()));
  const bool small = blip2::ComputesInOneThread(checkpoint->config(), blip2::ModelPart::kVision, placement);
  blip2::SetIntraOpThreads(options.threads, small ? 1 : ProcessorQuota());
  if (placement.device.is_cuda()) LogCard(blip2::DescribeDevice(placement.device), options.memory_fraction);
  LoadProgress progress(checkpoint->StoredBytes("vision_model."));
  checkpoint->OnRead([&progress](int64_t bytes) { progress.Add(bytes); });
  ServedVisionModel served;
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions("loading the model", [&] {
    const auto model = std::make_shared<const blip2::VisionModel>(*checkpoint, placement);
    served.description = Describe(*checkpoint, *model);
    served.image_processor = checkpoint->config().image_processor;
    served.encode = [model](const at::Tensor& pixel_values, int merging) {
      return model->Forward(pixel_values, merging);
    };
    DIPTYCH_RETURN_IF_ERROR(TryEncode(served.encode, served.description.image_size()));
    if (options.cuda_graphs) served.encode = Recorded(model, std::move(served.encode));
    served.analyze = [model](const at::Tensor& pixel_values) { return model->Analyze(pixel_values); };
    if (!placement.device.is_cpu()) BindUploads(placement.device, served);
    blip2::GiveBackPinnedMemory(placement.device);
    return absl::OkStatus();
  }));
  return served;
}

}  // namespace diptych::vision
