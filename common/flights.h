// Single flight: requests that want the same thing at the same time share one flight, which brings it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/stage_clock.h"

namespace diptych {

// Who waits for which flight, and what follows when somebody leaves or a flight ends. Pure: no lock, no callback, no
// clock. `Cargo` is what the owner keeps for a flight, `Waiter` a handle that can be compared. Thread-compatible.
template <typename Cargo, typename Waiter>
class Flights {
 public:
  using Id = uint64_t;
  static constexpr Id kNone = 0;
  // What a flight brings, as bits. One that brings more will do, too.
  using Wants = unsigned;

  enum class Left { kDidNotWait, kOthersWait, kNobodyWaits };

  struct Ended {
    std::vector<Waiter> notify;
    bool resumes = false;  // the flight goes on for others, whose deadlines are later
  };

  // A flight for `key` that can be joined and brings at least `wants`, else kNone. Of several, that with the least.
  Id Find(const std::string& key, Wants wants) const {
    for (auto open = open_.lower_bound({key, 0}); open != open_.end() && open->first.first == key; ++open) {
      if ((open->first.second & wants) == wants) return open->second;
    }
    return kNone;
  }

  // Starts a flight that can be joined. Requires: Find gives kNone for the same arguments.
  Id Start(const std::string& key, Wants wants, SteadyTime deadline, Waiter waiter, Cargo cargo) {
    const Id id = ++last_id_;
    open_.emplace(std::pair(key, wants), id);
    flights_.emplace(id, Flight{key, wants, std::move(cargo), {{std::move(waiter), deadline}}});
    return id;
  }

  // Requires: `id` is Find's.
  void Join(Id id, SteadyTime deadline, Waiter waiter) {
    flights_.at(id).waiters.emplace_back(std::move(waiter), deadline);
  }

  // The waiter waits no longer. A flight for which nobody waits goes on, and can be joined, until Close or End.
  Left Leave(Id id, const Waiter& waiter) {
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return Left::kDidNotWait;
    auto& waiters = flight->second.waiters;
    if (std::erase_if(waiters, [&](const auto& one) { return one.first == waiter; }) == 0) return Left::kDidNotWait;
    return waiters.empty() ? Left::kNobodyWaits : Left::kOthersWait;
  }

  // Forgets a flight for which nobody waits. Idempotent.
  void Close(Id id) { Forget(id); }

  // The flight has its outcome. `gave_up`: it was given up because this deadline, its latest then, had passed; those
  // whose deadlines are later still wait, and it resumes for them if there are any. Nobody is notified of what was
  // closed.
  Ended End(Id id, std::optional<SteadyTime> gave_up = std::nullopt) {
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return {};
    auto& waiters = flight->second.waiters;
    const auto stays = [&](const auto& one) { return gave_up && one.second > *gave_up; };
    const auto late = std::stable_partition(waiters.begin(), waiters.end(), stays);
    Ended ended{.notify = {}, .resumes = late != waiters.begin()};
    for (auto one = late; one != waiters.end(); ++one) ended.notify.push_back(std::move(one->first));
    waiters.erase(late, waiters.end());
    if (!ended.resumes) Forget(id);
    return ended;
  }

  // The latest deadline of those who wait; SteadyTime::min() if nobody does.
  SteadyTime deadline(Id id) const {
    SteadyTime latest = SteadyTime::min();
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return latest;
    for (const auto& [waiter, deadline] : flight->second.waiters) latest = std::max(latest, deadline);
    return latest;
  }

  bool awaited(Id id) const {
    const auto flight = flights_.find(id);
    return flight != flights_.end() && !flight->second.waiters.empty();
  }

  // Requires: the flight has neither been closed nor ended.
  const Cargo& cargo(Id id) const { return flights_.at(id).cargo; }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [id, flight] : flights_) visit(flight.cargo);
  }

 private:
  struct Flight {
    std::string key;
    Wants wants;
    Cargo cargo;
    std::vector<std::pair<Waiter, SteadyTime>> waiters;  // with their deadlines
  };

  void Forget(Id id) {
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return;
    open_.erase(std::pair(flight->second.key, flight->second.wants));
    flights_.erase(flight);
  }

  Id last_id_ = kNone;
  std::unordered_map<Id, Flight> flights_;
  std::map<std::pair<std::string, Wants>, Id> open_;
};

}  // namespace diptych
