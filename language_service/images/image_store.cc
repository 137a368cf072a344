#include "language_service/images/image_store.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace diptych::language {
namespace {

// Bytes of a cache entry besides its numbers.
constexpr int64_t kEntryOverheadBytes = 512;

int64_t CacheCost(const QueryTokens& image) {
  int64_t bytes = static_cast<int64_t>(image.query_tokens.nbytes()) + kEntryOverheadBytes;
  if (image.query_attention.defined()) bytes += static_cast<int64_t>(image.query_attention.nbytes());
  return bytes;
}

// The extras that a flight brings besides the query tokens, as Flights takes them.
unsigned WantsOf(bool query_attention) {
  return query_attention ? 1 : 0;
}

}  // namespace

// Guarded by the store's mutex.
struct ImageStore::Wait {
  Done done;
  SteadyTime since;
  uint64_t flight = 0;  // 0 while it does not wait
};

// Guarded by the store's mutex, but for what never changes.
struct ImageStore::Flight {
  uint64_t id = 0;
  std::string image_key;
  bool query_attention = false;
  SteadyTime begun;
  std::shared_ptr<const ImageRequest> request;  // until the tokens are there
  ByteBudget::Lease memory;
  std::shared_ptr<CallContext> call;  // of the pull that runs; null while none does
  std::function<void()> cancel_pull;
  SteadyTime tokens_at{};
  VisionTimings vision;
};

VisionTimings WithoutFirst(VisionTimings timings, SteadyDuration missed) {
  for (SteadyDuration* stage : {&timings.image_decode, &timings.image_resize, &timings.queue, &timings.vit}) {
    const SteadyDuration part = std::clamp(missed, SteadyDuration::zero(), *stage);
    *stage -= part;
    missed -= part;
  }
  return timings;
}

ImageStore::ImageStore(Steps steps, int64_t cache_bytes) : steps_(std::move(steps)), cache_(cache_bytes) {}

ImageStore::~ImageStore() {
  std::vector<std::function<void()>> cancels;
  MutexLock lock(mutex_);
  closed_ = true;
  flights_.ForEach([&](const FlightPtr& flight) {
    if (flight->call != nullptr) flight->call->Cancel();
    if (flight->cancel_pull != nullptr) cancels.push_back(flight->cancel_pull);
  });
  lock.Unlock();
  for (const auto& cancel : cancels) cancel();
  cancels.clear();
  lock.Lock();
  while (in_flight_ > 0 || starting_ > 0) ended_.Wait(lock);
}

std::shared_ptr<ImageStore::Wait> ImageStore::Get(ImageRequest request, SteadyTime deadline, Done done) {
  const auto wait = std::make_shared<Wait>(Wait{std::move(done), SteadyClock::now()});
  MutexLock lock(mutex_);
  ++stats_.queries;
  if (auto image = Find(request)) {
    ++stats_.hits;
    lock.Unlock();
    wait->done(Result{.image = std::move(image), .cached = true});
    return nullptr;
  }
  const unsigned wants = WantsOf(request.query_attention);
  if (const auto found = flights_.Find(request.expected.image_key, wants); found != ImageFlights::kNone) {
    ++stats_.joins;
    wait->flight = found;
    flights_.Join(found, deadline, wait);
    return wait;  // and the image's bytes are given up: the flight has them
  }
  if (const absl::Status status = request.memory.Grow(BytesForVisualTokens(request.expected)); !status.ok()) {
    lock.Unlock();
    wait->done(status);
    return nullptr;
  }
  const auto flight = std::make_shared<Flight>();
  flight->image_key = request.expected.image_key;
  flight->query_attention = request.query_attention;
  flight->begun = wait->since;
  flight->memory = std::move(request.memory);
  flight->request = std::make_shared<const ImageRequest>(std::move(request));
  flight->id = wait->flight = flights_.Start(flight->image_key, wants, deadline, wait, flight);
  ++in_flight_;
  lock.Unlock();
  StartPull(flight);
  return wait;
}

std::shared_ptr<const QueryTokens> ImageStore::Find(const ImageRequest& request) {
  auto image = cache_.Get(request.expected.image_key);
  return image != nullptr && request.query_attention && !image->query_attention.defined() ? nullptr : image;
}

void ImageStore::StartPull(const FlightPtr& flight) {
  MutexLock lock(mutex_);
  if (!flights_.awaited(flight->id) || closed_) {
    if (!closed_) flights_.Close(flight->id);  // so that no request joins what is over
    lock.Unlock();
    return End(flight, absl::CancelledError("nobody waits"));
  }
  const auto call = std::make_shared<CallContext>(flights_.deadline(flight->id));
  flight->call = call;
  const auto request = flight->request;
  ++stats_.pulls;
  ++starting_;
  lock.Unlock();
  auto cancel = steps_.pull(
      request, call, [this, flight](absl::StatusOr<VisualTokens> tokens) { OnPulled(flight, std::move(tokens)); });
  lock.Lock();
  --starting_;
  ended_.NotifyAll();
  if (flight->call != call) return;  // it has ended already
  if (call->cancelled()) {
    lock.Unlock();
    return cancel();
  }
  flight->cancel_pull = std::move(cancel);
}

void ImageStore::StopWaiting(const std::shared_ptr<Wait>& wait) {
  std::function<void()> cancel;
  {
    MutexLock lock(mutex_);
    const auto id = std::exchange(wait->flight, ImageFlights::kNone);
    const auto left = flights_.StopWaiting(id, wait);
    if (left == ImageFlights::StopResult::kDidNotWait) return;
    const FlightPtr flight = flights_.cargo(id);
    // A projection in progress continues: its result will be used.
    if (left == ImageFlights::StopResult::kNobodyWaits && flight->call != nullptr) {
      flights_.Close(id);
      flight->call->Cancel();
      cancel = std::exchange(flight->cancel_pull, nullptr);
    }
  }
  wait->done = nullptr;  // it may refer to what holds `wait`
  if (cancel != nullptr) cancel();
}

void ImageStore::OnPulled(const FlightPtr& flight, absl::StatusOr<VisualTokens> tokens) {
  std::optional<SteadyTime> gave_up;
  {
    MutexLock lock(mutex_);
    if (absl::IsDeadlineExceeded(tokens.status())) gave_up = flight->call->deadline();
    flight->call = nullptr;
    flight->cancel_pull = nullptr;
    if (tokens.ok()) {
      flight->request = nullptr;
      flight->tokens_at = SteadyClock::now();
      flight->vision = tokens->timings;
    }
  }
  if (!tokens.ok()) return End(flight, tokens.status(), gave_up);
  steps_.project(*std::move(tokens), flight->image_key, flight->query_attention,
                 [this, flight](absl::StatusOr<std::shared_ptr<const QueryTokens>> image) {
                   OnProjected(flight, std::move(image));
                 });
}

void ImageStore::OnProjected(const FlightPtr& flight, absl::StatusOr<std::shared_ptr<const QueryTokens>> image) {
  if (image.ok()) {
    MutexLock lock(mutex_);
    cache_.Put(flight->image_key, *image, CacheCost(**image));
  }
  End(flight, image);
}

void ImageStore::End(const FlightPtr& flight, const absl::StatusOr<std::shared_ptr<const QueryTokens>>& image,
                     std::optional<SteadyTime> gave_up) {
  ImageFlights::Ended ended;
  {
    MutexLock lock(mutex_);
    ended = flights_.End(flight->id, gave_up);
    for (const auto& wait : ended.notify) wait->flight = ImageFlights::kNone;
    if (!ended.resumes) {
      flight->request = nullptr;
      flight->memory.Release();
    }
  }
  for (const auto& wait : ended.notify) {
    const Done done = std::exchange(wait->done, nullptr);
    if (!image.ok()) {
      done(image.status());
      continue;
    }
    done(Result{.image = *image,
                .vision = WithoutFirst(flight->vision, wait->since - flight->begun),
                .tokens_at = flight->tokens_at});
  }
  if (ended.resumes) return StartPull(flight);
  // Notified under the lock: the store may be gone as soon as its destructor sees that nothing flies.
  MutexLock lock(mutex_);
  --in_flight_;
  ended_.NotifyAll();
}

ImageStoreStats ImageStore::stats() const {
  MutexLock lock(mutex_);
  ImageStoreStats stats = stats_;
  stats.in_flight = in_flight_;
  stats.cached = static_cast<int64_t>(cache_.size());
  stats.cached_bytes = cache_.bytes();
  return stats;
}

}  // namespace diptych::language
