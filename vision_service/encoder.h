// The vision service behind its RPC: gives every caller the visual tokens of its image, and computes none twice.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/byte_budget.h"
#include "common/flights.h"
#include "common/image_preparation.h"
#include "common/lru_cache.h"
#include "common/mutex.h"
#include "vision_service/encode_job.h"
#include "vision_service/engine.h"
#include "vision_service/image_workers.h"
#include "vision_service/options.h"
#include "vision_service/served_model.h"
#include "vision_service/stats.h"

namespace diptych::vision {

// An image that was checked and is wanted.
struct EncodeInput {
  std::string encoded;
  ImagePreparation preparation;
  ByteBudget::Lease memory;     // of at least `encoded`
  std::string cache_salt = {};  // callers of another one share nothing with this one
  EncodeExtras extras = {};
};

// One caller's interest in an input. Shared by the caller and the encoder.
struct EncodeWaiter {
  SteadyTime arrival;
  SteadyTime deadline;
  // Receives the outcome, on the thread that has it; never after Encoder::Leave gave true. Must not wait.
  std::function<void(absl::StatusOr<EncodeResult>)> done;
  uint64_t flight = 0;  // set by Encoder::Encode
};

// An image is looked up in the cache; if it is on its way for another caller, the new one joins; only else it goes
// to the image workers and the engine. An analysis that wants extras joins only flights that bring them; what it
// computes serves all callers, and what is remembered spares it the vision transformer. A caller that leaves changes
// nothing for others; the last one's leaving takes the image out of the queues at once. Thread-safe.
class Encoder {
 public:
  Encoder(const VisionOptions& options, const ServedVisionModel& model);
  // Callers must have got their outcomes or have left.
  ~Encoder();

  // Calls waiter->done exactly once, at once for a cache hit, unless the caller leaves before or this gives an error:
  // RESOURCE_EXHAUSTED with QUEUE_FULL if there is no memory for the image.
  absl::Status Encode(EncodeInput input, std::shared_ptr<EncodeWaiter> waiter);

  // The caller no longer waits. False if its outcome is on its way or was delivered.
  bool Leave(const std::shared_ptr<EncodeWaiter>& waiter);

  // The budget that EncodeInput::memory comes from.
  ByteBudget& memory() { return memory_; }

  // As VisionEngine::health.
  absl::Status health() const { return engine_.health(); }

  // All but calls_inside.
  VisionStats stats() const;

 private:
  using EncodeFlights = Flights<std::shared_ptr<EncodeJob>, std::shared_ptr<EncodeWaiter>>;

  // To the stage that the job has reached.
  void Submit(const std::shared_ptr<EncodeJob>& job);

  // What is remembered and has what `extras` need of it, else null.
  std::shared_ptr<const VisualTokens> Find(const std::string& image_key, const EncodeExtras& extras)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<EncodeJob>> StartFlight(EncodeInput input, std::string image_key,
                                                         std::shared_ptr<const VisualTokens> found,
                                                         const std::shared_ptr<EncodeWaiter>& waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void JoinFlight(EncodeFlights::Id flight, const std::shared_ptr<EncodeWaiter>& waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Gives the job's outcome to all who wait for it. A job that was given up for its deadline goes on for those with
  // later ones.
  void Finish(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<std::shared_ptr<const VisualTokens>> image);

  const std::string fingerprint_;
  const int patch_size_;
  const int64_t token_width_bytes_;  // of one visual token

  ByteBudget memory_;
  mutable Mutex mutex_;
  LruCache<std::shared_ptr<const VisualTokens>> cache_ ABSL_GUARDED_BY(mutex_);
  EncodeFlights flights_ ABSL_GUARDED_BY(mutex_);  // by image key
  int64_t cache_queries_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t cache_hits_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t joined_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t abandoned_ ABSL_GUARDED_BY(mutex_) = 0;

  // Their threads end before anything above goes.
  VisionEngine engine_;
  ImageWorkers workers_;
};

}  // namespace diptych::vision
