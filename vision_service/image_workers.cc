#include "vision_service/image_workers.h"

#include <c10/core/InferenceMode.h>

#include <utility>

#include "blip2/image.h"
#include "blip2/pixels.h"
#include "blip2/resample.h"
#include "common/catch_exceptions.h"
#include "common/status.h"

namespace diptych {

ImageWorkers::ImageWorkers(Options options, std::function<void(EncodeJob)> next)
    : options_(std::move(options)), next_(std::move(next)), queue_(options_.queue_limit) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

ImageWorkers::~ImageWorkers() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void ImageWorkers::Submit(EncodeJob job) {
  job.queued_at = SteadyClock::now();
  if (queue_.TryPush(std::move(job))) return;
  job.done(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the image workers' queue is full",
                      absl::Seconds(1)));
}

void ImageWorkers::Run() {
  const c10::InferenceMode inference_mode;
  while (std::optional<EncodeJob> job = queue_.Pop()) {
    const absl::Status status = CatchExceptions("image_decode", [&] { return Prepare(*job); });
    if (status.ok()) {
      next_(*std::move(job));
    } else {
      job->done(status);
    }
  }
}

absl::Status ImageWorkers::Prepare(EncodeJob& job) const {
  const SteadyTime begin = SteadyClock::now();
  job.timings.queue += begin - job.queued_at;
  DIPTYCH_RETURN_IF_ERROR(job.watch->Check("image_decode", begin));
  job.image_key = ImageKey(job.encoded, job.preparation, options_.fingerprint);
  auto image = blip2::DecodeImage(job.encoded, options_.limits);
  if (!image.ok()) return InvalidField(ReasonOf(image.status()), "image", std::string(image.status().message()));
  job.encoded = std::string();
  const SteadyTime decoded = SteadyClock::now();
  DIPTYCH_RETURN_IF_ERROR(job.watch->Check("image_resize", decoded));
  const blip2::RgbImage small = blip2::ShrinkToMaxSide(*std::move(image), job.preparation.max_side);
  job.pixel_values = blip2::ToPixelValues(small, options_.image_processor, job.preparation.image_size);
  job.timings.image_decode = decoded - begin;
  job.timings.image_resize = SteadyClock::now() - decoded;
  return absl::OkStatus();
}

}  // namespace diptych
