#include "vision_service/fair_places.h"

#include <algorithm>

#include "common/status.h"

namespace diptych::vision {
namespace {

// Others may take what was made free; then the call is refused.
constexpr int kTries = 3;

absl::Status GaveItsPlace() {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                    "another key's image got the place of this one", absl::Seconds(1));
}

}  // namespace

FairPlaces::Place& FairPlaces::Place::operator=(Place&& other) noexcept {
  Release();
  places_ = std::exchange(other.places_, nullptr);
  key_ = std::move(other.key_);
  waiter_ = std::move(other.waiter_);
  ticket_ = std::move(other.ticket_);
  return *this;
}

void FairPlaces::Place::Release() {
  FairPlaces* const places = std::exchange(places_, nullptr);
  if (places == nullptr) return;
  {
    MutexLock lock(places->mutex_);
    const auto calls = places->inside_.find(key_);
    std::erase(calls->second, waiter_);
    if (calls->second.empty()) places->inside_.erase(calls);
  }
  waiter_ = nullptr;
  ticket_.Release();
}

absl::StatusOr<FairPlaces::Place> FairPlaces::Enter(const std::string& key,
                                                    const std::shared_ptr<EncodeWaiter>& waiter) {
  absl::StatusOr<CallGate::Ticket> ticket = gate_->Enter();
  for (int i = 0; i < kTries && absl::IsResourceExhausted(ticket.status()) && MakeRoom(key); ++i) {
    ticket = gate_->Enter();
  }
  if (!ticket.ok()) return ticket.status();
  Place place;
  place.places_ = this;
  place.key_ = key;
  place.waiter_ = waiter;
  place.ticket_ = *std::move(ticket);
  MutexLock lock(mutex_);
  inside_[key].push_back(waiter);
  return place;
}

bool FairPlaces::MakeRoom(const std::string& key) {
  const Calls candidates = CandidatesFor(key);
  return std::any_of(candidates.rbegin(), candidates.rend(), [this](const auto& waiter) {
    if (!encoder_->StopWaiting(waiter)) return false;
    waiter->done(GaveItsPlace());
    return true;
  });
}

FairPlaces::Calls FairPlaces::CandidatesFor(const std::string& key) {
  MutexLock lock(mutex_);
  const auto own = inside_.find(key);
  const auto most = std::max_element(inside_.begin(), inside_.end(), [](const auto& one, const auto& other) {
    return one.second.size() < other.second.size();
  });
  const size_t would_have = 1 + (own == inside_.end() ? 0 : own->second.size());
  return most == inside_.end() || most->second.size() <= would_have ? Calls() : most->second;
}

}  // namespace diptych::vision
