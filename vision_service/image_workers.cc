#include "vision_service/image_workers.h"

#include <c10/core/InferenceMode.h>

#include <utility>

#include "blip2/image.h"
#include "blip2/pixels.h"
#include "blip2/png.h"
#include "blip2/resample.h"
#include "common/catch_exceptions.h"
#include "common/status.h"

namespace diptych::vision {
namespace {

absl::Status Unwanted() {
  return absl::CancelledError("nobody waits for this image");
}

}  // namespace

ImageWorkers::ImageWorkers(Options options, VisionEngine& engine, VisionEngine::Done done)
    : options_(std::move(options)), engine_(engine), done_(std::move(done)), queue_(options_.queue_limit) {
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
    Work(std::move(job));
  }
}

void ImageWorkers::Work(std::shared_ptr<EncodeJob> job) {
  const bool for_engine = job->found == nullptr;
  if (for_engine) engine_.Expect(job->shape());
  ++decoding_;
  const absl::Status status = Prepare(*job);
  --decoding_;
  if (status.ok()) ++decoded_;
  if (status.ok() && for_engine) return engine_.Submit(std::move(job));
  if (for_engine) engine_.Unexpect(job->shape());
  absl::StatusOr<std::shared_ptr<const VisualTokens>> outcome = job->found;
  if (!status.ok()) outcome = status;
  done_(std::move(job), std::move(outcome));
}

absl::Status ImageWorkers::Prepare(EncodeJob& job) const {
  const absl::Status status = CatchExceptions("image_decode", [&] { return DecodeAndResize(job); });
  if (!status.ok()) return status;
  int64_t bytes = job.token_bytes;
  if (job.pixel_values.defined()) bytes += static_cast<int64_t>(job.pixel_values.nbytes());
  if (job.prepared_png != nullptr) bytes += static_cast<int64_t>(job.prepared_png->size());
  job.memory.ShrinkTo(bytes);
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
  const int size = job.preparation.image_size;
  const blip2::RgbImage square = blip2::Resize(small, size, size, blip2::Filter::kBicubic);
  if (job.found == nullptr) job.pixel_values = blip2::NormalizePixels(square, options_.image_processor);
  if (job.extras.prepared_image) {
    DIPTYCH_ASSIGN_OR_RETURN(std::string png, blip2::EncodePng(square));
    job.prepared_png = std::make_shared<const std::string>(std::move(png));
  }
  job.timeline.prepared = SteadyClock::now();
  return absl::OkStatus();
}

void ImageWorkers::AddTo(VisionStats& stats) const {
  stats.images_waiting += static_cast<int>(queue_.size());
  stats.images_decoding = decoding_;
  stats.decoded_images = decoded_;
}

}  // namespace diptych::vision
