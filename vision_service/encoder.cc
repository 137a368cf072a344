#include "vision_service/encoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::vision {
namespace {

// In which the model computes.
v1::NumberType NumberTypeOf(const v1::ModelDescription& model) {
  if (model.dtype() == "bfloat16") return v1::NUMBER_TYPE_BFLOAT16;
  if (model.dtype() == "float16") return v1::NUMBER_TYPE_FLOAT16;
  return v1::NUMBER_TYPE_FLOAT32;
}

// One image in other numbers is another entry, and another flight.
std::string KeyOf(const std::string& image_key, v1::NumberType dtype) {
  return absl::StrCat(image_key, ":", static_cast<int>(dtype));
}

unsigned WantsOf(const EncodeExtras& extras) {
  return (extras.class_attention ? 1u : 0u) | (extras.prepared_image ? 2u : 0u);
}

// At most: a row has a byte more than its pixels, and what does not compress costs five bytes in 16 KiB.
int64_t PngBytes(int64_t image_size) {
  const int64_t raw = image_size * (3 * image_size + 1);
  return raw + raw / 1000 + 1024;
}

int64_t SizeOf(const std::shared_ptr<const std::string>& text) {
  return text == nullptr ? 0 : static_cast<int64_t>(text->size());
}

}  // namespace

Encoder::Encoder(const VisionOptions& options, const ServedVisionModel& model)
    : fingerprint_(model.description.fingerprint()),
      patch_size_(model.description.patch_size()),
      own_dtype_(NumberTypeOf(model.description)),
      width_(model.description.visual_width()),
      memory_(options.max_inflight_bytes),
      cache_(options.cache_bytes),
      engine_(model,
              {.max_batch = options.MaxBatch(model.description.visual_tokens()),
               .image_size = model.description.image_size()},
              absl::ToChronoNanoseconds(options.longest_pass),
              [this](std::shared_ptr<EncodeJob> job, auto image) { Finish(job, std::move(image)); }),
      workers_({.threads = options.image_workers,
                .queue_limit = options.queue_limit,
                .limits = options.image_limits,
                .scaled_decode = options.image_decode == "scaled",
                .image_processor = model.image_processor,
                .pin = model.pin},
               engine_, [this](std::shared_ptr<EncodeJob> job, auto image) { Finish(job, std::move(image)); }) {}

Encoder::~Encoder() = default;

absl::Status Encoder::Encode(EncodeInput input, std::shared_ptr<EncodeWaiter> waiter) {
  if (input.dtype == own_dtype_ || StreamedBytes(input.dtype, 1, 1) == 0) input.dtype = v1::NUMBER_TYPE_UNSPECIFIED;
  std::string image_key = ImageKey(input.encoded, input.preparation, fingerprint_, input.cache_salt);
  std::shared_ptr<const VisualTokens> found;
  std::shared_ptr<EncodeJob> started;
  {
    MutexLock lock(mutex_);
    ++cache_queries_;
    const std::string key = KeyOf(image_key, input.dtype);
    found = Find(key, input.extras);
    if (found != nullptr) ++cache_hits_;
    if (found == nullptr || input.extras.prepared_image) {
      const auto flight = flights_.Find(key, WantsOf(input.extras));
      if (flight != EncodeFlights::kNone) {
        ++joined_;
        JoinFlight(flight, waiter);
        return absl::OkStatus();
      }
      DIPTYCH_ASSIGN_OR_RETURN(started, StartFlight(std::move(input), std::move(image_key), std::move(found), waiter));
    }
  }
  if (started != nullptr) {
    Submit(started);
  } else {
    waiter->done(EncodeResult{.image = std::move(found), .timings = {}, .cache_hit = true, .memory = {}});
  }
  return absl::OkStatus();
}

std::shared_ptr<const VisualTokens> Encoder::Find(const std::string& key, const EncodeExtras& extras) {
  auto image = cache_.Get(key);
  return image != nullptr && extras.class_attention && image->class_attention().empty() ? nullptr : image;
}

void Encoder::Submit(const std::shared_ptr<EncodeJob>& job) {
  if (job->pixel_values.defined()) return engine_.Submit(job);
  if (const absl::Status status = workers_.Submit(job); !status.ok()) Finish(job, status);
}

absl::StatusOr<std::shared_ptr<EncodeJob>> Encoder::StartFlight(EncodeInput input, std::string image_key,
                                                                std::shared_ptr<const VisualTokens> found,
                                                                const std::shared_ptr<EncodeWaiter>& waiter) {
  const int64_t size = input.preparation.image_size, side = size / patch_size_;
  auto job = std::make_shared<EncodeJob>();
  int64_t pixel_bytes = 0;
  if (found == nullptr) {
    const int64_t tokens = side * side + 1;
    job->token_bytes = std::max(StreamedBytes(own_dtype_, tokens, width_), StreamedBytes(input.dtype, tokens, width_));
    if (input.extras.class_attention) job->token_bytes += tokens * static_cast<int64_t>(sizeof(float));
    pixel_bytes = 3 * size * size * static_cast<int64_t>(sizeof(float));
  }
  const int64_t png_bytes = input.extras.prepared_image ? PngBytes(size) : 0;
  DIPTYCH_RETURN_IF_ERROR(input.memory.Grow(pixel_bytes + job->token_bytes + png_bytes));
  job->image_key = std::move(image_key);
  job->caller = std::move(input.caller);
  job->extras = input.extras;
  job->dtype = input.dtype;
  job->found = std::move(found);
  job->encoded = std::move(input.encoded);
  job->preparation = input.preparation;
  job->memory = std::move(input.memory);
  job->deadline = waiter->deadline;
  job->id = waiter->flight =
      flights_.Start(KeyOf(job->image_key, job->dtype), WantsOf(job->extras), waiter->deadline, waiter, job);
  return job;
}

void Encoder::JoinFlight(EncodeFlights::Id flight, const std::shared_ptr<EncodeWaiter>& waiter) {
  EncodeJob& job = *flights_.cargo(flight);
  if (waiter->deadline > job.deadline.load()) {
    job.deadline = waiter->deadline;
    engine_.UpdateDeadline(job);
  }
  waiter->flight = flight;
  flights_.Join(flight, waiter->deadline, waiter);
}

bool Encoder::StopWaiting(const std::shared_ptr<EncodeWaiter>& waiter) {
  std::shared_ptr<EncodeJob> abandoned;
  {
    MutexLock lock(mutex_);
    const auto left = flights_.StopWaiting(waiter->flight, waiter);
    if (left != EncodeFlights::StopResult::kNobodyWaits) return left == EncodeFlights::StopResult::kOthersWait;
    abandoned = flights_.cargo(waiter->flight);
    flights_.Close(waiter->flight);
    ++abandoned_;
    abandoned->wanted = false;
  }
  workers_.Remove(*abandoned);
  engine_.Remove(*abandoned);
  return true;
}

void Encoder::Finish(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<std::shared_ptr<const VisualTokens>> image) {
  EncodeFlights::Ended ended;
  {
    MutexLock lock(mutex_);
    // Results for callers who have left meanwhile may serve the next.
    if (image.ok() && *image != job->found) {
      cache_.Put(KeyOf(job->image_key, job->dtype), *image, (*image)->size_bytes());
    }
    const bool gave_up = absl::IsDeadlineExceeded(image.status());
    ended = flights_.End(job->id, gave_up ? std::optional(job->judged_deadline) : std::nullopt);
  }
  std::shared_ptr<ByteBudget::Lease> memory;
  if (!ended.resumes) {
    job->memory.ShrinkTo(image.ok() ? (*image)->size_bytes() + SizeOf(job->prepared_png) : 0);
    memory = std::make_shared<ByteBudget::Lease>(std::move(job->memory));
  }
  for (const auto& waiter : ended.notify) {
    if (!image.ok()) {
      waiter->done(image.status());
      continue;
    }
    waiter->done(EncodeResult{.image = *image,
                              .timings = job->timeline.Since(waiter->arrival),
                              .cache_hit = job->found != nullptr,
                              .prepared_png = job->prepared_png,
                              .memory = memory});
  }
  if (ended.resumes) Submit(job);
}

VisionStats Encoder::stats() const {
  VisionStats stats;
  engine_.AddTo(stats);
  workers_.AddTo(stats);
  stats.inflight_bytes = memory_.taken();
  MutexLock lock(mutex_);
  stats.cache_bytes = cache_.bytes();
  stats.cached_images = static_cast<int64_t>(cache_.size());
  stats.cache_queries = cache_queries_;
  stats.cache_hits = cache_hits_;
  stats.joined_calls = joined_;
  stats.abandoned_images = abandoned_;
  return stats;
}

}  // namespace diptych::vision
