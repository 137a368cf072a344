#include "gateway/admission/fair_gate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/grpc/call_context.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr absl::Duration kTryAgainIn = absl::Seconds(1);
constexpr Stage kWaitStage = Stage::kGateway;

std::string NameOf(const Caller& caller) {
  return caller == nullptr ? "" : caller->name;
}

absl::Status OverLimits(std::string_view limit, absl::Duration wait) {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kRateLimited,
                    absl::StrCat("this API key is over its ", absl::string_view(limit.data(), limit.size()),
                                 "; wait, or have the operator raise it"),
                    wait);
}

}  // namespace

FairGate::Place& FairGate::Place::operator=(Place&& other) noexcept {
  Release();
  gate_ = std::move(other.gate_);
  caller_ = std::move(other.caller_);
  ticket_ = std::move(other.ticket_);
  refused_ = std::exchange(other.refused_, 0);
  has_turn_ = other.has_turn_;
  return *this;
}

void FairGate::Place::Release() {
  const auto gate = std::exchange(gate_, nullptr);
  if (gate == nullptr) return;
  gate->Release(caller_, *this);
  ticket_.Release();  // last: who waits for an empty door may end the gate then
}

void FairGate::Place::Refused() {
  if (gate_ != nullptr) gate_->AddRefused(refused_, 1);
}

void FairGate::Place::Taken() {
  if (gate_ != nullptr) gate_->AddRefused(refused_, -1);
}

void FairGate::AddRefused(int& of_place, int more) {
  MutexLock lock(mutex_);
  const bool before = of_place > 0;
  of_place += more;
  if (of_place > 0 && !before) queue_.Refused();
  if (of_place == 0 && before) queue_.Taken();
}

void FairGate::Place::Charge(int64_t tokens) {
  if (gate_ != nullptr) gate_->Charge(caller_, tokens);
}

void FairGate::Charge(const Caller& caller, int64_t tokens) {
  if (caller == nullptr || caller->limits.tokens_per_minute == 0 || tokens <= 0) return;
  MutexLock lock(mutex_);
  rates_[caller->name].Charge(tokens, caller->limits.tokens_per_minute, SteadyClock::now());
}

absl::Status FairGate::CheckRate(const Caller& caller) {
  MutexLock lock(mutex_);
  return CheckRateLocked(caller, SteadyClock::now());
}

std::shared_ptr<FairGate> FairGate::Make(int places, int waiting_room) {
  return std::shared_ptr<FairGate>(new FairGate(places, waiting_room));
}

FairGate::FairGate(int places, int waiting_room)
    : places_(places), waiting_room_(waiting_room), door_(2 * places + waiting_room), queue_(places, waiting_room) {}

absl::Status FairGate::CheckRateLocked(const Caller& caller, SteadyTime now) {
  if (caller == nullptr || caller->limits.tokens_per_minute == 0) return absl::OkStatus();
  const int64_t per_minute = caller->limits.tokens_per_minute;
  const auto found = rates_.find(caller->name);
  if (found == rates_.end()) return absl::OkStatus();
  const SteadyDuration wait = found->second.Wait(per_minute, now);
  if (wait > SteadyDuration::zero()) return OverLimits("tokens per minute", absl::FromChrono(wait));
  if (found->second.Full(per_minute, now)) rates_.erase(found);  // so that names of long ago don't pile up
  return absl::OkStatus();
}

FairGate::Id FairGate::Enter(const Caller& caller, int callers, SteadyTime deadline, Entered entered) {
  Id id = 0;
  absl::StatusOr<CallGate::Ticket> ticket = door_.Enter();
  absl::Status verdict = ticket.status();
  if (ticket.ok()) {
    MutexLock lock(mutex_);
    id = ++last_id_;
    const absl::StatusOr<bool> enters = Decide(id, caller, callers, deadline, SteadyClock::now());
    if (enters.ok() && !*enters) {
      waiting_.emplace(id, Waiting{.caller = caller,
                                   .ticket = *std::move(ticket),
                                   .entered = std::move(entered),
                                   .timer = TimerOf(id, deadline)});
      return id;
    }
    verdict = enters.status();
  }
  if (verdict.ok()) {
    entered(Place(shared_from_this(), caller, *std::move(ticket)));
  } else {
    if (ticket.ok()) ticket->Release();  // whoever is told may ask again at once
    entered(verdict);
  }
  return id;
}

FairGate::Id FairGate::TakeTurn(std::shared_ptr<Place> place, SteadyTime deadline, Entered entered) {
  Id id = 0;
  Calls calls;
  {
    MutexLock lock(mutex_);
    if (queue_.waiting() > 0 && queue_.waiting() - queue_.in_room() < places_) {
      id = ++last_id_;
      const std::string caller = NameOf(place->caller_);
      queue_.AskForTurn({.id = id, .caller = caller, .max_inflight = 0, .max_waiting = 0, .deadline = deadline});
      if (std::exchange(place->has_turn_, false)) queue_.Release(caller);
      const Caller of = place->caller_;
      waiting_.emplace(id, Waiting{.caller = of,
                                   .ticket = {},
                                   .entered = std::move(entered),
                                   .timer = TimerOf(id, deadline),
                                   .place = std::move(place)});
      calls = Fill(SteadyClock::now());
    }
  }
  if (id == 0) entered(Place());
  for (const auto& call : calls) call();
  return id;
}

std::unique_ptr<DeadlineTimer> FairGate::TimerOf(Id id, SteadyTime deadline) {
  return std::make_unique<DeadlineTimer>(deadline, [weak = weak_from_this(), id] {
    if (const auto self = weak.lock()) self->Abandon(id, DeadlinePassed(kWaitStage));
  });
}

absl::StatusOr<bool> FairGate::Decide(Id id, const Caller& caller, int callers, SteadyTime deadline, SteadyTime now) {
  DIPTYCH_RETURN_IF_ERROR(CheckRateLocked(caller, now));
  const auto verdict = queue_.Ask({.id = id,
                                   .caller = NameOf(caller),
                                   .max_inflight = caller == nullptr ? 0 : caller->limits.max_inflight,
                                   .max_waiting = std::max(1, waiting_room_ / std::max(1, callers)),
                                   .deadline = deadline});
  if (verdict == FairQueue::Verdict::kCallerFull) return OverLimits("questions in flight", kTryAgainIn);
  if (verdict == FairQueue::Verdict::kFull) {
    return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                      "all places of this server are taken, and so is its waiting room", kTryAgainIn);
  }
  return verdict == FairQueue::Verdict::kEnters;
}

FairGate::Waiting FairGate::TakeWaiting(Id id) {
  const auto found = waiting_.find(id);
  Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  return waiting;
}

void FairGate::Abandon(Id id, const absl::Status& why) {
  const auto self = shared_from_this();  // who waits for an empty door may end the gate
  Waiting gone;
  {
    MutexLock lock(mutex_);
    if (!queue_.Remove(id)) return;
    gone = TakeWaiting(id);
    gone.ticket.Release();
  }
  gone.entered(why);
}

FairGate::Calls FairGate::Fill(SteadyTime now) {
  Calls calls;
  for (const Id id : queue_.Expired(now)) {
    auto late = std::make_shared<Waiting>(TakeWaiting(id));
    late->ticket.Release();
    calls.push_back([late] { late->entered(DeadlinePassed(kWaitStage)); });
  }
  while (const auto id = queue_.Next(now)) {
    auto next = std::make_shared<Waiting>(TakeWaiting(*id));
    if (next->place != nullptr) {
      next->place->has_turn_ = true;
      calls.push_back([next] { next->entered(Place()); });
      continue;
    }
    calls.push_back(
        [next, self = shared_from_this()] { next->entered(Place(self, next->caller, std::move(next->ticket))); });
  }
  return calls;
}

void FairGate::Release(const Caller& caller, const Place& place) {
  Calls calls;
  {
    MutexLock lock(mutex_);
    if (place.refused_ > 0) queue_.Taken();
    if (place.has_turn_) queue_.Release(NameOf(caller));
    calls = Fill(SteadyClock::now());
  }
  for (const auto& call : calls) call();
}

int FairGate::inside() const {
  MutexLock lock(mutex_);
  return queue_.inside();
}

int FairGate::waiting() const {
  MutexLock lock(mutex_);
  return queue_.waiting();
}

}  // namespace diptych::gateway
