#include "vision_service/encoder.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace diptych {
namespace {

int64_t TokenWidthBytes(const v1::ModelDescription& model) {
  return int64_t{model.visual_width()} * (model.dtype() == "float32" ? 4 : 2);
}

}  // namespace

Encoder::Encoder(const VisionOptions& options, const ServedVisionModel& model)
    : fingerprint_(model.description.fingerprint()),
      patch_size_(model.description.patch_size()),
      token_width_bytes_(TokenWidthBytes(model.description)),
      memory_(options.max_inflight_bytes),
      cache_(options.cache_bytes),
      engine_(model.encode, {.max_batch = options.max_batch, .image_size = model.description.image_size()},
              [this](std::shared_ptr<EncodeJob> job, auto image) { Finish(job, std::move(image)); }),
      workers_({.threads = options.image_workers,
                .queue_limit = options.queue_limit,
                .limits = options.image_limits,
                .image_processor = model.image_processor},
               engine_, [this](std::shared_ptr<EncodeJob> job, absl::Status status) { Finish(job, status); }) {}

Encoder::~Encoder() = default;

absl::Status Encoder::Encode(EncodeInput input, std::shared_ptr<EncodeWaiter> waiter) {
  waiter->image_key = ImageKey(input.encoded, input.preparation, fingerprint_);
  std::shared_ptr<const EncodedImage> cached;
  std::shared_ptr<EncodeJob> started;
  {
    std::lock_guard lock(mutex_);
    ++cache_queries_;
    cached = cache_.Get(waiter->image_key);
    if (cached != nullptr) {
      ++cache_hits_;
    } else if (const auto flight = flights_.find(waiter->image_key); flight != flights_.end()) {
      ++joined_;
      JoinFlight(flight->second, std::move(waiter));
    } else {
      DIPTYCH_ASSIGN_OR_RETURN(started, StartFlight(std::move(input), waiter));
    }
  }
  if (cached != nullptr) {
    waiter->done(EncodedPicture{.image = std::move(cached), .timings = {}, .cache_hit = true, .memory = {}});
  }
  if (started != nullptr) Submit(started);
  return absl::OkStatus();
}

void Encoder::Submit(const std::shared_ptr<EncodeJob>& job) {
  if (job->pixel_values.defined()) return engine_.Submit(job);
  if (const absl::Status status = workers_.Submit(job); !status.ok()) Finish(job, status);
}

absl::StatusOr<std::shared_ptr<EncodeJob>> Encoder::StartFlight(EncodeInput input,
                                                                const std::shared_ptr<EncodeWaiter>& waiter) {
  const int64_t size = input.preparation.image_size, side = size / patch_size_;
  auto job = std::make_shared<EncodeJob>();
  job->token_bytes = (side * side + 1) * token_width_bytes_;
  const int64_t pixel_bytes = 3 * size * size * static_cast<int64_t>(sizeof(float));
  DIPTYCH_RETURN_IF_ERROR(input.memory.Grow(pixel_bytes + job->token_bytes));
  job->id = next_id_++;
  job->image_key = waiter->image_key;
  job->encoded = std::move(input.encoded);
  job->preparation = input.preparation;
  job->memory = std::move(input.memory);
  job->deadline = waiter->deadline;
  flights_.emplace(waiter->image_key, Flight{.job = job, .waiters = {waiter}});
  return job;
}

void Encoder::JoinFlight(Flight& flight, std::shared_ptr<EncodeWaiter> waiter) {
  if (waiter->deadline > flight.job->deadline.load()) {
    flight.job->deadline = waiter->deadline;
    engine_.UpdateDeadline(*flight.job);
  }
  flight.waiters.push_back(std::move(waiter));
}

bool Encoder::Leave(const std::shared_ptr<EncodeWaiter>& waiter) {
  std::shared_ptr<EncodeJob> abandoned;
  {
    std::lock_guard lock(mutex_);
    const auto flight = flights_.find(waiter->image_key);
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
  const auto flight = flights_.find(job.image_key);
  if (flight == flights_.end() || flight->second.job.get() != &job) return {};  // all have left
  resumed = absl::IsDeadlineExceeded(outcome) && job.deadline.load() > job.judged_deadline;
  if (resumed) return {};
  auto waiters = std::move(flight->second.waiters);
  flights_.erase(flight);
  return waiters;
}

void Encoder::Finish(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<std::shared_ptr<const EncodedImage>> image) {
  std::vector<std::shared_ptr<EncodeWaiter>> waiters;
  bool resumed = false;
  {
    std::lock_guard lock(mutex_);
    // What was computed for callers who have left meanwhile may serve the next.
    if (image.ok()) cache_.Put(job->image_key, *image, static_cast<int64_t>((*image)->bytes().size()));
    waiters = EndFlight(*job, image.status(), resumed);
  }
  if (resumed) return Submit(job);
  job->memory.ShrinkTo(image.ok() ? static_cast<int64_t>((*image)->bytes().size()) : 0);
  const auto memory = std::make_shared<ByteBudget::Lease>(std::move(job->memory));
  for (const auto& waiter : waiters) {
    if (!image.ok()) {
      waiter->done(image.status());
      continue;
    }
    waiter->done(EncodedPicture{
        .image = *image, .timings = job->timeline.Since(waiter->arrival), .cache_hit = false, .memory = memory});
  }
}

VisionStats Encoder::stats() const {
  VisionStats stats;
  engine_.AddTo(stats);
  workers_.AddTo(stats);
  stats.inflight_bytes = memory_.taken();
  std::lock_guard lock(mutex_);
  stats.cache_bytes = cache_.bytes();
  stats.cached_pictures = static_cast<int64_t>(cache_.size());
  stats.cache_queries = cache_queries_;
  stats.cache_hits = cache_hits_;
  stats.joined_calls = joined_;
  stats.abandoned_pictures = abandoned_;
  return stats;
}

}  // namespace diptych
