#include "vision_service/image_workers.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "blip2/device/device_error.h"
#include "blip2/images/image.h"
#include "blip2/images/pixels.h"
#include "blip2/images/png.h"
#include "blip2/images/resample.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych::vision {
namespace {

absl::Status Unwanted() {
  return absl::CancelledError("nobody waits for this image");
}

// Whether anybody still waits for the image, asked while it is decoded.
absl::Status StillWanted(EncodeJob& job) {
  if (!job.wanted) return Unwanted();
  job.judged_deadline = job.deadline;
  return SteadyClock::now() < job.judged_deadline ? absl::OkStatus() : DeadlinePassed(Stage::kImageDecode);
}

// An error of the decoder, naming the request's field; an error of StillWanted as it is.
absl::Status NameImage(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return InvalidField(ReasonOf(status), "image", std::string(status.message()));
}

// Pixels that are decoded at a time: as many as one image may have, and no fewer than two workers usually need.
int64_t PixelsAtATime(const ImageLimits& limits) {
  return std::max(limits.max_pixels, ImageLimits().max_pixels);
}

}  // namespace

ImageWorkers::ImageWorkers(Options options, VisionEngine& engine, VisionEngine::Done done)
    : options_(std::move(options)),
      engine_(engine),
      done_(std::move(done)),
      queue_(static_cast<size_t>(options_.queue_limit), PixelsAtATime(options_.limits)) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

ImageWorkers::~ImageWorkers() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status ImageWorkers::Submit(std::shared_ptr<EncodeJob> job) {
  job->timeline.submitted = SteadyClock::now();
  DIPTYCH_ASSIGN_OR_RETURN(const ImageHeader header, CheckImage(job->encoded, options_.limits));
  if (queue_.TryPush(std::move(job), header.width * header.height)) return absl::OkStatus();
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the image workers' queue is full",
                    absl::Seconds(1));
}

void ImageWorkers::Remove(const EncodeJob& job) {
  queue_.Remove(job);
}

void ImageWorkers::Run() {
  const c10::InferenceMode inference_mode;
  while (std::optional<ImageQueue::Turn> turn = queue_.Pop()) {
    CatchInThread(NameOf(Stage::kImageDecode), [&] { Work(std::move(turn->job)); });
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

absl::Status ImageWorkers::Prepare(EncodeJob& job) {
  const absl::Status status = CatchExceptions(
      NameOf(Stage::kImageDecode), [&] { return DecodeAndResize(job); }, blip2::StatusOfDeviceError);
  if (!status.ok()) return status;
  int64_t bytes = job.token_bytes;
  if (job.pixel_values.defined()) bytes += static_cast<int64_t>(job.pixel_values.nbytes());
  if (job.prepared_png != nullptr) bytes += static_cast<int64_t>(job.prepared_png->size());
  job.memory.ShrinkTo(bytes);
  return status;
}

absl::Status ImageWorkers::DecodeAndResize(EncodeJob& job) {
  job.timeline.decode_begin = SteadyClock::now();
  job.judged_deadline = job.deadline;
  if (job.timeline.decode_begin >= job.judged_deadline) return DeadlinePassed(Stage::kVisionQueue);
  if (!job.wanted) return Unwanted();
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::RgbImage square, DecodeToSquare(job));
  if (job.found == nullptr) {
    job.pixel_values = blip2::NormalizePixels(square, options_.image_processor);
    if (options_.pin) job.pixel_values = options_.pin(job.pixel_values);
  }
  if (job.extras.prepared_image) {
    DIPTYCH_ASSIGN_OR_RETURN(std::string png, blip2::EncodePng(square));
    job.prepared_png = std::make_shared<const std::string>(std::move(png));
  }
  job.timeline.prepared = SteadyClock::now();
  return absl::OkStatus();
}

// Twice the square's: what remains to be shrunk then is left to the bicubic filter. Who sets a max_side means the
// pixels of the whole image.
int ImageWorkers::LeastSide(const ImagePreparation& preparation) const {
  return options_.scaled_decode && preparation.max_side == 0 ? 2 * preparation.image_size : 0;
}

absl::StatusOr<blip2::RgbImage> ImageWorkers::DecodeToSquare(EncodeJob& job) {
  auto image = blip2::DecodeImage(
      job.encoded, options_.limits, [&job] { return StillWanted(job); }, LeastSide(job.preparation));
  if (!image.ok()) return NameImage(image.status());
  job.encoded = std::string();
  job.timeline.resize_begin = SteadyClock::now();
  if (!job.wanted) return Unwanted();
  const blip2::RgbImage small = blip2::ShrinkToMaxSide(*std::move(image), job.preparation.max_side);
  const int size = job.preparation.image_size;
  return blip2::Resize(small, size, size, blip2::Filter::kBicubic);
}

void ImageWorkers::AddTo(VisionStats& stats) const {
  stats.images_waiting += static_cast<int>(queue_.size());
  stats.images_decoding = decoding_;
  stats.decoded_images = decoded_;
}

}  // namespace diptych::vision
