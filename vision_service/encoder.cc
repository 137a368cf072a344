#include "vision_service/encoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::vision {
namespace {

int64_t TokenWidthBytes(const v1::ModelDescription& model) {
  return int64_t{model.visual_width()} * (model.dtype() == "bfloat16" || model.dtype() == "float16" ? 2 : 4);
}

std::string FlightKey(const std::string& image_key, const EncodeExtras& extras) {
  return absl::StrCat(image_key, extras.class_attention ? "a" : "", extras.prepared_image ? "p" : "");
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
      token_width_bytes_(TokenWidthBytes(model.description)),
      memory_(options.max_inflight_bytes),
      cache_(options.cache_bytes),
      engine_(model, {.max_batch = options.max_batch, .image_size = model.description.image_size()},
              [this](std::shared_ptr<EncodeJob> job, auto image) { Finish(job, std::move(image)); }),
      workers_({.threads = options.image_workers,
                .queue_limit = options.queue_limit,
                .limits = options.image_limits,
                .image_processor = model.image_processor},
               engine_, [this](std::shared_ptr<EncodeJob> job, auto image) { Finish(job, std::move(image)); }) {}

Encoder::~Encoder() = default;

absl::Status Encoder::Encode(EncodeInput input, std::shared_ptr<EncodeWaiter> waiter) {
  std::string image_key = ImageKey(input.encoded, input.preparation, fingerprint_);
  std::shared_ptr<const VisualTokens> found;
  std::shared_ptr<EncodeJob> started;
  {
    std::lock_guard lock(mutex_);
    ++cache_queries_;
    found = Find(image_key, input.extras);
    if (found != nullptr) ++cache_hits_;
    if (found == nullptr || input.extras.prepared_image) {
      if (Flight* flight = FindFlight(image_key, input.extras); flight != nullptr) {
        ++joined_;
        JoinFlight(*flight, std::move(waiter));
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

std::shared_ptr<const VisualTokens> Encoder::Find(const std::string& image_key, const EncodeExtras& extras) {
  auto image = cache_.Get(image_key);
  return image != nullptr && extras.class_attention && image->class_attention().empty() ? nullptr : image;
}

Encoder::Flight* Encoder::FindFlight(const std::string& image_key, const EncodeExtras& extras) {
  for (const bool class_attention : {false, true}) {
    for (const bool prepared_image : {false, true}) {
      if ((extras.class_attention && !class_attention) || (extras.prepared_image && !prepared_image)) continue;
      const auto flight = flights_.find(FlightKey(image_key, {class_attention, prepared_image}));
      if (flight != flights_.end()) return &flight->second;
    }
  }
  return nullptr;
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
    job->token_bytes = (side * side + 1) * (token_width_bytes_ + (input.extras.class_attention ? sizeof(float) : 0));
    pixel_bytes = 3 * size * size * static_cast<int64_t>(sizeof(float));
  }
  const int64_t png_bytes = input.extras.prepared_image ? PngBytes(size) : 0;
  DIPTYCH_RETURN_IF_ERROR(input.memory.Grow(pixel_bytes + job->token_bytes + png_bytes));
  job->id = next_id_++;
  job->image_key = std::move(image_key);
  job->flight_key = waiter->flight_key = FlightKey(job->image_key, input.extras);
  job->extras = input.extras;
  job->found = std::move(found);
  job->encoded = std::move(input.encoded);
  job->preparation = input.preparation;
  job->memory = std::move(input.memory);
  job->deadline = waiter->deadline;
  flights_.emplace(waiter->flight_key, Flight{.job = job, .waiters = {waiter}});
  return job;
}

void Encoder::JoinFlight(Flight& flight, std::shared_ptr<EncodeWaiter> waiter) {
  if (waiter->deadline > flight.job->deadline.load()) {
    flight.job->deadline = waiter->deadline;
    engine_.UpdateDeadline(*flight.job);
  }
  waiter->flight_key = flight.job->flight_key;
  flight.waiters.push_back(std::move(waiter));
}

bool Encoder::Leave(const std::shared_ptr<EncodeWaiter>& waiter) {
  std::shared_ptr<EncodeJob> abandoned;
  {
    std::lock_guard lock(mutex_);
    const auto flight = flights_.find(waiter->flight_key);
    if (flight == flights_.end()) return false;
    auto& waiters = flight->second.waiters;
    if (std::erase(waiters, waiter) == 0) return false;
    if (!waiters.empty()) return true;
    abandoned = std::move(flight->second.job);
    flights_.erase(flight);
    ++abandoned_;
    abandoned->wanted = false;
  }
  workers_.Remove(*abandoned);
  engine_.Remove(*abandoned);
  return true;
}

std::vector<std::shared_ptr<EncodeWaiter>> Encoder::EndFlight(const EncodeJob& job, const absl::Status& outcome,
                                                              bool& resumed) {
  const auto flight = flights_.find(job.flight_key);
  if (flight == flights_.end() || flight->second.job.get() != &job) return {};  // all have left
  resumed = absl::IsDeadlineExceeded(outcome) && job.deadline.load() > job.judged_deadline;
  if (resumed) return {};
  auto waiters = std::move(flight->second.waiters);
  flights_.erase(flight);
  return waiters;
}

void Encoder::Finish(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<std::shared_ptr<const VisualTokens>> image) {
  std::vector<std::shared_ptr<EncodeWaiter>> waiters;
  bool resumed = false;
  {
    std::lock_guard lock(mutex_);
    // What was computed for callers who have left meanwhile may serve the next.
    if (image.ok() && *image != job->found) cache_.Put(job->image_key, *image, (*image)->size_bytes());
    waiters = EndFlight(*job, image.status(), resumed);
  }
  if (resumed) return Submit(job);
  job->memory.ShrinkTo(image.ok() ? (*image)->size_bytes() + SizeOf(job->prepared_png) : 0);
  const auto memory = std::make_shared<ByteBudget::Lease>(std::move(job->memory));
  for (const auto& waiter : waiters) {
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
}

VisionStats Encoder::stats() const {
  VisionStats stats;
  engine_.AddTo(stats);
  workers_.AddTo(stats);
  stats.inflight_bytes = memory_.taken();
  std::lock_guard lock(mutex_);
  stats.cache_bytes = cache_.bytes();
  stats.cached_images = static_cast<int64_t>(cache_.size());
  stats.cache_queries = cache_queries_;
  stats.cache_hits = cache_hits_;
  stats.joined_calls = joined_;
  stats.abandoned_images = abandoned_;
  return stats;
}

}  // namespace diptych::vision
