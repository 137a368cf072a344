// Judges whether an engine still works.
#pragma once

#include <atomic>

#include "absl/status/status.h"
#include "common/stage_clock.h"

namespace diptych {

// Judges an engine by its passes: the engine thread tells of them, anybody asks. Requests can make single passes fail,
// so failures alone prove nothing; an input of the engine's own that fails does. Thread-safe.
class EngineHealth {
 public:
  // Failures in a row after which the engine tries itself.
  static constexpr int kFailuresBeforeTrial = 8;

  // A pass that takes longer than `longest_pass` does not end.
  explicit EngineHealth(SteadyDuration longest_pass) : longest_pass_(longest_pass) {}

  void Begin() { begin_ = SteadyClock::now(); }
  void End() { begin_ = SteadyTime{}; }
  // With what came of a pass, also where only its results tell that it failed: numbers that are not finite. True if the
  // engine is to try itself now, on an input that is known to be good, and to call Tried. After a lost device no pass
  // can succeed: the engine has failed for good.
  bool Judge(const absl::Status& pass);
  void Tried(bool sound);

  // UNAVAILABLE with the cause once the engine has failed; it never recovers.
  absl::Status Check(SteadyTime now = SteadyClock::now()) const;

 private:
  const SteadyDuration longest_pass_;
  std::atomic<SteadyTime> begin_ = SteadyTime{};  // of the pass that runs; the epoch: none does
  std::atomic<int> failures_ = 0;                 // in a row
  std::atomic<bool> failed_ = false;
  std::atomic<bool> device_lost_ = false;
};

}  // namespace diptych
