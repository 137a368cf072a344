// The door in front of the tiers: places, a waiting room, and what each key may use.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/grpc/call_gate.h"
#include "common/mutex.h"
#include "common/stage_clock.h"
#include "gateway/admission/api_keys.h"
#include "gateway/admission/fair_queue.h"
#include "gateway/admission/token_rate.h"
#include "gateway/deadline_timer.h"

namespace diptych::gateway {

// FairQueue and TokenRate with a lock, a clock and callbacks. Made by Make, because timers may outlast it. Thread-safe;
// must outlive its places.
class FairGate : public std::enable_shared_from_this<FairGate> {
 public:
  using Id = FairQueue::Id;

  // One question that is inside, or several of one request. Leaves when it is destroyed. Movable.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept = default;
    Place& operator=(Place&& other) noexcept;
    ~Place() { Release(); }
    // As FairGate::Charge. Nothing on an empty place.
    void Charge(int64_t tokens);
    // One of its questions finds no room in the tier and keeps asking (FairQueue::Refused), or does so no longer.
    // Nothing on an empty place. Thread-safe, as long as it is not moved.
    void Refused();
    void Taken();

   private:
    friend class FairGate;
    Place(std::shared_ptr<FairGate> gate, Caller caller, CallGate::Ticket ticket)
        : gate_(std::move(gate)), caller_(std::move(caller)), ticket_(std::move(ticket)) {}
    void Release();

    std::shared_ptr<FairGate> gate_;
    Caller caller_;
    CallGate::Ticket ticket_;
    // Guarded by the gate's mutex.
    int refused_ = 0;       // questions
    bool has_turn_ = true;  // it is inside; false while it waits for its next turn
  };

  // Gets the place, or why there is none. Must not wait.
  using Entered = std::function<void(absl::StatusOr<Place>)>;

  // With a waiting room of 0 no request waits.
  static std::shared_ptr<FairGate> Make(int places, int waiting_room);

  // Calls `entered` once: before it returns, or later on whichever thread makes a place free. Errors:
  // RESOURCE_EXHAUSTED with QUEUE_FULL when no place and no room to wait is left (`callers` share the room evenly), or
  // with RATE_LIMITED when the caller is over its own limits, both with a time to retry; DRAINING; DEADLINE_EXCEEDED
  // when `deadline` passes in the waiting room. Returns what Abandon takes.
  Id Enter(const Caller& caller, int callers, SteadyTime deadline, Entered entered);

  // A request that has begun asks more: others that wait get its place, and it gets one again when its caller's turn
  // comes; at once if nobody waits, or as many as there are places wait for their next turn. Calls `entered` once, as
  // Enter does, with an empty place or the error of `deadline` or Abandon; nothing else refuses it. Not again before
  // that.
  Id TakeTurn(std::shared_ptr<Place> place, SteadyTime deadline, Entered entered);

  // For what takes no place: RATE_LIMITED if the caller is over its tokens a minute; Charge counts against them.
  absl::Status CheckRate(const Caller& caller);
  void Charge(const Caller& caller, int64_t tokens);

  // Ends the wait of `id` with `why`; nothing if it waits no longer.
  void Abandon(Id id, const absl::Status& why);

  // Bounds all that are here, and closes when the process drains.
  CallGate& door() { return door_; }
  int inside() const;
  int waiting() const;

 private:
  struct Waiting {
    Caller caller;
    CallGate::Ticket ticket;
    Entered entered;
    std::unique_ptr<DeadlineTimer> timer;
    std::shared_ptr<Place> place = nullptr;  // that it has already, and waits to use again
  };
  using Calls = std::vector<std::function<void()>>;

  FairGate(int places, int waiting_room);
  void Release(const Caller& caller, const Place& place);
  std::unique_ptr<DeadlineTimer> TimerOf(Id id, SteadyTime deadline);
  // The place has so many questions more, or less, that are refused.
  void AddRefused(int& of_place, int more);
  // True for a place, false for a wait.
  absl::StatusOr<bool> Decide(Id id, const Caller& caller, int callers, SteadyTime deadline, SteadyTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRateLocked(const Caller& caller, SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives free places away; returns the calls that follow, to be made without the lock.
  Calls Fill(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Waiting TakeWaiting(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int places_, waiting_room_;
  CallGate door_;  // also for those that wait for their next turn
  mutable Mutex mutex_;
  Id last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  FairQueue queue_ ABSL_GUARDED_BY(mutex_);
  std::map<Id, Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, TokenRate> rates_ ABSL_GUARDED_BY(mutex_);  // by key name
};

}  // namespace diptych::gateway
