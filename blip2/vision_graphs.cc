#include "blip2/vision_graphs.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <bit>
#include <utility>

#include "blip2/device/transfer.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kMostImages = 32;  // images

}  // namespace

VisionGraphs::VisionGraphs(RecordStep record, Recording::OnFailure on_failure, const VisionModel& model)
    : recording_(std::move(record), std::move(on_failure)), model_(model) {}

at::Tensor VisionGraphs::Forward(const at::Tensor& pixel_values, int merging) {
  if (!IsRecorded(pixel_values, merging)) return model_.Forward(pixel_values, merging);
  const c10::InferenceMode inference;
  const at::Tensor pixels = pixel_values.is_cpu() ? Upload(pixel_values, model_.placement().device) : pixel_values;
  at::Tensor tokens;
  const bool ran = recording_.Try([&] {
    Pass& pass = PassOf(pixels);
    pass.pixels.narrow(0, 0, pixels.size(0)).copy_(pixels);
    Replay(pass);
    tokens = pass.tokens.narrow(0, 0, pixels.size(0)).clone();  // the next pass writes where they lie
  });
  if (ran) return tokens;
  passes_.clear();
  return model_.Forward(pixels, merging);
}

bool VisionGraphs::IsRecorded(const at::Tensor& pixel_values, int merging) const {
  return recording_.goes_on() && merging == 0 && pixel_values.dim() == 4 && pixel_values.size(0) >= 1 &&
         pixel_values.size(0) <= kMostImages && pixel_values.size(1) == 3 &&
         pixel_values.size(2) == model_.config().image_size && pixel_values.size(3) == model_.config().image_size;
}

VisionGraphs::Pass& VisionGraphs::PassOf(const at::Tensor& pixels) {
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(pixels.size(0))));
  const auto known = passes_.find(size);
  if (known != passes_.end()) return known->second;
  const at::Tensor black = at::zeros({size, 3, pixels.size(2), pixels.size(3)}, pixels.options());
  return passes_.emplace(size, Pass{.pixels = black}).first->second;
}

void VisionGraphs::Replay(Pass& pass) {
  if (!pass.replay) {
    pass.replay = recording_.Record([this, &pass] { pass.tokens = model_.Forward(pass.pixels); });
  }
  pass.replay();
}

}  // namespace diptych::blip2
