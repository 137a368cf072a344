// The vision service behind its RPCs: gives callers the visual tokens of their images, and computes each image once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/containers/byte_budget.h"
#include "common/containers/flights.h"
#include "common/containers/lru_cache.h"
#include "common/mutex.h"
#include "common/requests/image_preparation.h"
#include "vision_service/encode_job.h"
#include "vision_service/engine.h"
#include "vision_service/image_workers.h"
#include "vision_service/options.h"
#include "vision_service/served_model.h"
#include "vision_service/stats.h"

namespace diptych::vision {

// A checked image, and how to encode it.
struct EncodeInput {
  std::string encoded;
  ImagePreparation preparation;
  ByteBudget::Lease memory;     // of at least `encoded`
  std::string cache_salt = {};  // only inputs with the same salt share results
  std::string caller = {};      // as EncodeJob::caller
  EncodeExtras extras = {};     // only with tokens in the numbers that they are computed in
  // As ToStreamed takes it. One that is not known counts as not specified.
  v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED;
};

// One caller that waits for an input. Shared by the caller and the encoder.
struct EncodeWaiter {
  SteadyTime arrival;
  SteadyTime deadline;
  // Receives the outcome, on the thread that has it; never after Encoder::StopWaiting gave true. Must not wait.
  std::function<void(absl::StatusOr<EncodeResult>)> done;
  uint64_t flight = 0;  // set by Encoder::Encode
};

// Looks for an image in the cache, then among those that are being encoded for other callers; only else encodes it,
// with the image workers and the engine. An analysis joins only encodings that compute its extras, and needs no pass of
// the vision transformer if the cache has the tokens. When its last caller stops waiting, an image leaves the queues.
// Thread-safe.
class Encoder {
 public:
  Encoder(const VisionOptions& options, const ServedVisionModel& model);
  // Requires: no caller waits.
  ~Encoder();

  // Calls waiter->done exactly once, before it returns for a cache hit, unless StopWaiting comes first or it returns an
  // error: RESOURCE_EXHAUSTED with QUEUE_FULL if there is no memory for the image.
  absl::Status Encode(EncodeInput input, std::shared_ptr<EncodeWaiter> waiter);

  // The waiter gets no outcome any more. False if it has been given one, or is just being given it.
  bool StopWaiting(const std::shared_ptr<EncodeWaiter>& waiter);

  // The budget that EncodeInput::memory comes from.
  ByteBudget& memory() { return memory_; }

  // As VisionEngine::health.
  absl::Status health() const { return engine_.health(); }

  // All but calls_inside.
  VisionStats stats() const;

 private:
  using EncodeFlights = Flights<std::shared_ptr<EncodeJob>, std::shared_ptr<EncodeWaiter>>;

  // Sends the job to its next stage: the image workers, or the engine.
  void Submit(const std::shared_ptr<EncodeJob>& job);

  // The cached image if it serves `extras`, else null.
  std::shared_ptr<const VisualTokens> Find(const std::string& key, const EncodeExtras& extras)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<EncodeJob>> StartFlight(EncodeInput input, std::string image_key,
                                                         std::shared_ptr<const VisualTokens> found,
                                                         const std::shared_ptr<EncodeWaiter>& waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void JoinFlight(EncodeFlights::Id flight, const std::shared_ptr<EncodeWaiter>& waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Gives the outcome to all waiters of the job. A job that ended at its deadline runs again for those with later ones.
  void Finish(const std::shared_ptr<EncodeJob>& job, absl::StatusOr<std::shared_ptr<const VisualTokens>> image);

  const std::string fingerprint_;
  const int patch_size_;
  const v1::NumberType own_dtype_;  // in which visual tokens are computed
  const int width_;                 // of one, in numbers

  ByteBudget memory_;
  mutable Mutex mutex_;
  LruCache<std::shared_ptr<const VisualTokens>> cache_ ABSL_GUARDED_BY(mutex_);
  EncodeFlights flights_ ABSL_GUARDED_BY(mutex_);  // by image key and dtype
  int64_t cache_queries_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t cache_hits_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t joined_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t abandoned_ ABSL_GUARDED_BY(mutex_) = 0;

  // Their threads end before anything above goes.
  VisionEngine engine_;
  ImageWorkers workers_;
};

}  // namespace diptych::vision
