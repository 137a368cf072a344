#include "vision_service/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/catch_exceptions.h"
#include "common/status.h"

namespace diptych {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are streamed as they lie in memory");

v1::NumberType NumberTypeOf(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return v1::NUMBER_TYPE_FLOAT32;
    case at::kBFloat16:
      return v1::NUMBER_TYPE_BFLOAT16;
    case at::kHalf:
      return v1::NUMBER_TYPE_FLOAT16;
    default:
      return v1::NUMBER_TYPE_UNSPECIFIED;
  }
}

// visual_tokens [1, P, Dv]
absl::StatusOr<EncodedImage> CopyOut(const at::Tensor& visual_tokens) {
  if (visual_tokens.dim() != 3 || visual_tokens.size(0) != 1) return absl::InternalError("expected [1, P, Dv]");
  const at::Tensor tensor = visual_tokens.cpu().contiguous();
  EncodedImage image;
  image.dtype = NumberTypeOf(tensor.scalar_type());
  image.tokens = static_cast<int>(tensor.size(1));
  image.width = static_cast<int>(tensor.size(2));
  image.bytes.assign(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  return image;
}

absl::StatusOr<EncodedImage> EncodeOne(EncodeJob& job, const VisionEngine::Encode& encode) {
  const SteadyTime begin = SteadyClock::now();
  job.timings.queue += begin - job.queued_at;
  DIPTYCH_RETURN_IF_ERROR(job.watch->Check("vision_queue", begin));
  absl::StatusOr<EncodedImage> image;
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions("vit", [&] {
    image = CopyOut(encode(job.pixel_values));
    return image.status();
  }));
  job.timings.vit = SteadyClock::now() - begin;
  image->image_key = std::move(job.image_key);
  image->image_size = job.preparation.image_size;
  image->timings = job.timings;
  return image;
}

}  // namespace

VisionEngine::VisionEngine(Encode encode, int queue_limit)
    : encode_(std::move(encode)), queue_(queue_limit), thread_([this] { Run(); }) {}

VisionEngine::~VisionEngine() {
  queue_.Close();
  thread_.join();
}

void VisionEngine::Submit(EncodeJob job) {
  job.queued_at = SteadyClock::now();
  if (queue_.TryPush(std::move(job))) return;
  job.done(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the vision engine's queue is full",
                      absl::Seconds(1)));
}

void VisionEngine::Run() {
  at::init_num_threads();
  const c10::InferenceMode inference_mode;
  while (std::optional<EncodeJob> job = queue_.Pop()) {
    auto image = EncodeOne(*job, encode_);
    job->pixel_values.reset();
    job->done(std::move(image));
  }
}

}  // namespace diptych
