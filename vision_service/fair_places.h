// Places for calls that bring images, shared by the keys that ask.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/grpc/call_gate.h"
#include "common/mutex.h"
#include "vision_service/encoder.h"

namespace diptych::vision {

// One key may have all places as long as nobody else asks. Where none is left, a key that has fewer gets one of the key
// that has most: of its calls the one that came last ends with QUEUE_FULL. Calls without a key are one key's.
// Thread-safe; must outlive its places.
class FairPlaces {
 public:
  // `gate` and `encoder` must outlive it.
  FairPlaces(CallGate* gate, Encoder* encoder) : gate_(gate), encoder_(encoder) {}

  // The place of one call, given back when it is destroyed. Movable. Thread-compatible.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : places_(std::exchange(other.places_, nullptr)),
          key_(std::move(other.key_)),
          waiter_(std::move(other.waiter_)),
          ticket_(std::move(other.ticket_)) {}
    Place& operator=(Place&& other) noexcept;
    ~Place() { Release(); }
    // Idempotent.
    void Release();

   private:
    friend class FairPlaces;
    FairPlaces* places_ = nullptr;
    std::string key_;
    std::shared_ptr<EncodeWaiter> waiter_;
    CallGate::Ticket ticket_;
  };

  // For a call whose outcome `waiter` gets, also that it had to go. Errors as CallGate::Enter's. Never waits.
  absl::StatusOr<Place> Enter(const std::string& key, const std::shared_ptr<EncodeWaiter>& waiter);

 private:
  using Calls = std::vector<std::shared_ptr<EncodeWaiter>>;

  // False if nobody has to go for `key`.
  bool MakeRoom(const std::string& key);
  // Those that may have to, the last first to go.
  Calls CandidatesFor(const std::string& key);

  CallGate* const gate_;
  Encoder* const encoder_;
  Mutex mutex_;
  std::map<std::string, Calls> inside_ ABSL_GUARDED_BY(mutex_);  // by key, in the order in which they came; none empty
};

}  // namespace diptych::vision
