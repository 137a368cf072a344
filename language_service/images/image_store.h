// The images of all requests: each is pulled from the vision tier and projected once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/containers/flights.h"
#include "common/containers/lru_cache.h"
#include "common/grpc/call_context.h"
#include "common/mutex.h"
#include "common/stage_clock.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/engine/visual_tokens.h"
#include "language_service/images/image_pull.h"

namespace diptych::language {

struct ImageStoreStats {
  int64_t queries = 0;  // images asked for
  int64_t hits = 0;     // found in the cache
  int64_t joins = 0;    // found on their way
  int64_t pulls = 0;    // asked of the vision tier
  int64_t in_flight = 0;
  int64_t cached = 0;
  int64_t cached_bytes = 0;
};

// Looks for an image in the cache, then among the flights (pull and projection of one image) of other requests; only
// else starts a flight. A request for the queries' attention joins only flights that compute it. When its last request
// stops waiting, a pull is cancelled. Thread-safe.
class ImageStore {
 public:
  // An image, and what it cost this request.
  struct Result {
    std::shared_ptr<const QueryTokens> image;
    bool cached = false;  // a hit: the fields below are empty
    // The vision tier's time for it while this request waited.
    VisionTimings vision = {};
    SteadyTime tokens_at{};  // when its visual tokens had arrived; what followed was the Q-Former
  };
  using Done = std::function<void(absl::StatusOr<Result>)>;

  // The steps of a flight. Each calls its last argument exactly once, on any thread.
  struct Steps {
    // Returns what cancels the pull; that may be called at any time and more than once. `call` is the flight's own:
    // its deadline is the latest of the requests that wait.
    std::function<std::function<void()>(std::shared_ptr<const ImageRequest>, std::shared_ptr<const CallContext> call,
                                        ImagePull::Done)>
        pull;
    std::function<void(VisualTokens, std::string key, bool with_attention,
                       std::function<void(absl::StatusOr<std::shared_ptr<const QueryTokens>>)>)>
        project;
  };

  // One request's wait for one image.
  struct Wait;

  ImageStore(Steps steps, int64_t cache_bytes);
  // Cancels the pulls that still run and waits until every flight has ended. No call of Get or StopWaiting may run.
  ~ImageStore();

  // `done` is called at most once: before this returns, with a hit or a refusal (the result is then null), or later on
  // another thread. Its error is the vision tier's or the engine's, never that of another request's deadline or
  // cancel; RESOURCE_EXHAUSTED if request.memory cannot grow by the visual tokens.
  std::shared_ptr<Wait> Get(ImageRequest request, SteadyTime deadline, Done done);

  // Afterwards `done` is not called, unless it is just being called. Idempotent.
  void StopWaiting(const std::shared_ptr<Wait>& wait);

  ImageStoreStats stats() const;

 private:
  struct Flight;
  using FlightPtr = std::shared_ptr<Flight>;
  using ImageFlights = Flights<FlightPtr, std::shared_ptr<Wait>>;

  // The cached image if it serves `request`, else null.
  std::shared_ptr<const QueryTokens> Find(const ImageRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void StartPull(const FlightPtr& flight);
  void OnPulled(const FlightPtr& flight, absl::StatusOr<VisualTokens> tokens);
  void OnProjected(const FlightPtr& flight, absl::StatusOr<std::shared_ptr<const QueryTokens>> image);
  // Gives the outcome to all requests of the flight. With `gave_up`, the deadline at which its pull ended, the pull
  // starts again for requests with later deadlines.
  void End(const FlightPtr& flight, const absl::StatusOr<std::shared_ptr<const QueryTokens>>& image,
           std::optional<SteadyTime> gave_up = std::nullopt);

  const Steps steps_;
  mutable Mutex mutex_;
  CondVar ended_;
  LruCache<std::shared_ptr<const QueryTokens>> cache_ ABSL_GUARDED_BY(mutex_);
  ImageFlights flights_ ABSL_GUARDED_BY(mutex_);   // by image key
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // and those that have been closed, but have not ended
  int64_t starting_ ABSL_GUARDED_BY(mutex_) = 0;   // threads inside steps_.pull, whose flight may end before them
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  ImageStoreStats stats_ ABSL_GUARDED_BY(mutex_);
};

// The part of `timings` that a request which came `missed` later waited for. The vision tier's stages are taken as
// coming one after the other: decode, resize, queue, vit.
VisionTimings WithoutFirst(VisionTimings timings, SteadyDuration missed);

}  // namespace diptych::language
