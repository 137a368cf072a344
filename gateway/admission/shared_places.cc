#include "gateway/admission/shared_places.h"

#include <random>

#include "absl/strings/str_format.h"

namespace diptych::gateway {
namespace {

std::string NameNobodyGuesses() {
  thread_local std::random_device device;
  std::string name;
  for (int i = 0; i < 4; ++i) absl::StrAppendFormat(&name, "%08x", device());
  return name;
}

}  // namespace

SharedPlace::Task SharedPlace::Join(const HeldPlaceEntered& entered) {
  absl::StatusOr<HeldPlace> place;
  {
    MutexLock lock(mutex_);
    --to_come_;
    ++of_turn_;
    if (!std::exchange(asked_, true)) return {.kind = Task::kEnter};
    if (of_turn_ > kQuestionsOfATurn && place_ && place_->ok()) {
      of_turn_ = 1;
      return {.kind = Task::kTakeTurn, .place = **std::exchange(place_, std::nullopt)};
    }
    if (!place_) {
      waiting_.push_back(entered);
      return {};
    }
    place = *place_;
    if (to_come_ <= 0) place_->emplace();
  }
  entered(std::move(place));
  return {};
}

void SharedPlace::OnEntered(const absl::StatusOr<HeldPlace>& place) {
  std::vector<HeldPlaceEntered> waiting;
  {
    MutexLock lock(mutex_);
    to_come_ > 0 ? place_.emplace(place) : place_.emplace(HeldPlace());
    waiting.swap(waiting_);
  }
  for (const HeldPlaceEntered& entered : waiting) entered(place);
}

std::shared_ptr<SharedPlace> SharedPlaces::Open(int questions) {
  auto place = std::make_shared<SharedPlace>(NameNobodyGuesses(), questions);
  MutexLock lock(mutex_);
  std::erase_if(places_, [](const auto& entry) { return entry.second.expired(); });
  places_[place->name()] = place;
  return place;
}

std::shared_ptr<SharedPlace> SharedPlaces::Find(const std::string& name) {
  MutexLock lock(mutex_);
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : found->second.lock();
}

}  // namespace diptych::gateway
