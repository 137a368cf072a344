#include "vision_service/image_workers.h"

#include <c10/core/InferenceMode.h>

#include <utility>

#include "blip2/image.h"
#include "blip2/pixels.h"
#include "blip2/resample.h"
#include "common/catch_exceptions.h"
#include "common/status.h"

namespace diptych {
namespace {

absl::Status Unwanted() {
  return absl::CancelledError("nobody waits for this picture");
}

}  // namespace

ImageWorkers::ImageWorkers(Options options, VisionEngine& engine, Failed failed)
    : options_(std::move(options)), engine_(engine), failed_(std::move(failed)), queue_(options_.queue_limit) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

ImageWorkers::~ImageWorkers() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status ImageWorkers::Submit(std::shared_ptr<EncodeJob> job) {
  job->timeline.submitted = SteadyClock::now();
  if (queue_.TryPush(std::move(job))) return absl::OkStatus();
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the image workers' queue is full",
                    absl::Seconds(1));
}

void ImageWorkers::Remove(const EncodeJob& job) {
  queue_.RemoveIf([&job](const std::shared_ptr<EncodeJob>& queued) { return queued.get() == &job; });
}

void ImageWorkers::Run() {
  const c10::InferenceMode inference_mode;
  while (std::optional<std::shared_ptr<EncodeJob>> popped = queue_.Pop()) {
    std::shared_ptr<EncodeJob> job = *std::move(popped);
    popped.reset();
    engine_.Expect(job->shape());
    ++decoding_;
    const absl::Status status = Prepare(*job);
    --decoding_;
    if (status.ok()) {
      ++decoded_;
      engine_.Submit(std::move(job));
    } else {
      engine_.Unexpect(job->shape());
      failed_(std::move(job), status);
    }
  }
}

absl::Status ImageWorkers::Prepare(EncodeJob& job) const {
  const absl::Status status = CatchExceptions("image_decode", [&] { return DecodeAndResize(job); });
  if (status.ok()) job.memory.ShrinkTo(static_cast<int64_t>(job.pixel_values.nbytes()) + job.token_bytes);
  return status;
}

absl::Status ImageWorkers::DecodeAndResize(EncodeJob& job) const {
  job.timeline.decode_begin = SteadyClock::now();
  job.judged_deadline = job.deadline;
  if (job.timeline.decode_begin >= job.judged_deadline) return DeadlinePassed("vision_queue");
  if (!job.wanted) return Unwanted();
  auto image = blip2::DecodeImage(job.encoded, options_.limits);
  if (!image.ok()) return InvalidField(ReasonOf(image.status()), "image", std::string(image.status().message()));
  job.encoded = std::string();
  job.timeline.resize_begin = SteadyClock::now();
  if (!job.wanted) return Unwanted();
  const blip2::RgbImage small = blip2::ShrinkToMaxSide(*std::move(image), job.preparation.max_side);
  job.pixel_values = blip2::ToPixelValues(small, options_.image_processor, job.preparation.image_size);
  job.timeline.prepared = SteadyClock::now();
  return absl::OkStatus();
}

void ImageWorkers::AddTo(VisionStats& stats) const {
  stats.pictures_waiting += static_cast<int>(queue_.size());
  stats.pictures_decoding = decoding_;
  stats.decoded_pictures = decoded_;
}

}  // namespace diptych
