// Single flight: requests for the same key share one computation, which is called a flight.
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

// Keeps which waiter waits for which flight; its owner has the lock and runs the computations. Pure: no lock, callback
// or clock. `Cargo` is the owner's data for a flight, `Waiter` a comparable handle of one request. Thread-compatible.
template <typename Cargo, typename Waiter>
class Flights {
 public:
  using Id = uint64_t;
  static constexpr Id kNone = 0;
  // Bits for the parts of a result that a request needs. A flight that computes more parts serves it, too.
  using Wants = unsigned;

  enum class StopResult { kDidNotWait, kOthersWait, kNobodyWaits };

  struct Ended {
    std::vector<Waiter> notify;  // gets the outcome
    bool resumes = false;        // the flight has to run again, for waiters with later deadlines
  };

  // A flight for `key` that can be joined and computes at least `wants`, else kNone. Of several, the one with least.
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

  // Removes the waiter. A flight without waiters goes on, and can be joined, until Close or End.
  StopResult StopWaiting(Id id, const Waiter& waiter) {
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return StopResult::kDidNotWait;
    auto& waiters = flight->second.waiters;
    if (std::erase_if(waiters, [&](const auto& one) { return one.first == waiter; }) == 0)
      return StopResult::kDidNotWait;
    return waiters.empty() ? StopResult::kNobodyWaits : StopResult::kOthersWait;
  }

  // Forgets a flight without waiters, so that it cannot be joined. Idempotent.
  void Close(Id id) { Forget(id); }

  // Ends the flight. With `gave_up` it stopped without a result because that deadline, its latest at the time, had
  // passed: waiters with later deadlines stay, and the flight resumes for them. Nothing for a flight that was closed.
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

  // The latest deadline of its waiters; SteadyTime::min() without any.
  SteadyTime deadline(Id id) const {
    SteadyTime latest = SteadyTime::min();
    const auto flight = flights_.find(id);
    if (flight == flights_.end()) return latest;
    for (const auto& [waiter, deadline] : flight->second.waiters) latest = std::max(latest, deadline);
    return latest;
  }

  // Whether it has waiters.
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
