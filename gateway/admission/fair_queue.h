// Chooses the request that gets the next free place.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/stage_clock.h"

namespace diptych::gateway {

// Decides only: it has no clock, no lock and no callback. Each caller's questions wait in a line of their own, first
// come first served; the lines take turns, so that one caller's flood delays another's single question by one place.
// Thread-compatible.
class FairQueue {
 public:
  using Id = uint64_t;

  enum class Verdict {
    kEnters,      // a place is taken
    kWaits,       // in its caller's line, until Next, Expired or Remove names it
    kFull,        // nothing is kept of it
    kCallerFull,  // the same: the caller has as many questions here as it may
  };

  struct Question {
    Id id;               // not in use
    std::string caller;  // empty: the only one
    int max_inflight;    // of the caller, inside and waiting; 0: no bound
    int max_waiting;     // of the caller
    SteadyTime deadline;
  };

  // `waiting_room`: how many may wait, all callers together; may be 0.
  FairQueue(int places, int waiting_room) : most_places_(places), places_(places), waiting_room_(waiting_room) {}

  Verdict Ask(const Question& question);
  // A question of a request that has begun waits for its caller's next turn: in front of those in its line that have
  // not, so that no more begin than there are places, and in nobody's way to the waiting room. Of `question` only id,
  // caller and deadline are looked at.
  void AskForTurn(const Question& question);

  // A question inside was refused by a tier that has no room, and keeps asking until it is Taken or, after that,
  // leaves. As long as there are such, there are no more places than the tier has room for: else the callers' turns
  // would decide nothing, but who asks most often. Then each that leaves adds a place, up to those that there were.
  void Refused();
  void Taken() { --refused_; }

  // A question of `caller` gives its place back. Call Next afterwards.
  void Release(const std::string& caller);

  // The question that takes a free place, if one waits; its deadline is not past. Call until nullopt.
  std::optional<Id> Next(SteadyTime now);

  // Removes the waiting questions whose deadline has passed; returns their ids.
  std::vector<Id> Expired(SteadyTime now);

  // False if it does not wait.
  bool Remove(Id id);

  int inside() const { return inside_; }
  int waiting() const { return waiting_; }
  int in_room() const { return in_room_; }  // of those that wait: the others wait for their next turn

 private:
  struct Waiter {
    Id id;
    SteadyTime deadline;
    bool takes_room;
  };
  struct Line {
    int inside = 0;
    int in_room = 0;  // of those that wait
    std::deque<Waiter> waiting;
  };

  void Wait(const Question& question, bool takes_room);
  void OnLeft(Line& line, const Waiter& waiter);
  void Forget(const std::string& caller);
  // Removes the waiting questions for which `condition` is true; returns their ids.
  template <typename Condition>
  std::vector<Id> TakeOut(Condition&& condition);

  const int most_places_;
  int places_;
  const int waiting_room_;
  int refused_ = 0;  // of those inside
  int inside_ = 0;
  int waiting_ = 0;
  int in_room_ = 0;                    // of those that wait
  std::map<std::string, Line> lines_;  // of callers that have anything here
  std::deque<std::string> turns_;      // callers who wait; the first is next
};

}  // namespace diptych::gateway
