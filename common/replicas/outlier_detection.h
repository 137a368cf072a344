// Which replicas of a tier are left out for a while, because they fail again and again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/stage_clock.h"

namespace diptych {

// Pure. Thread-compatible. Replicas are identified by address; those not seen for a long time are forgotten.
class OutlierDetection {
 public:
  // Failures in a row that make an outlier. What was asked before the last failure was known belongs to that one: a
  // lost connection ends many calls at once.
  static constexpr int kFailures = 3;
  // The first time that it is left out; each time after that twice as long as before.
  static constexpr SteadyDuration kFirstEjection = std::chrono::seconds(10);
  static constexpr SteadyDuration kLongestEjection = std::chrono::minutes(1);
  // Of replicas that were last heard of before that.
  static constexpr SteadyDuration kForgetAfter = std::chrono::minutes(5);

  void OnAnswer(const std::string& replica, SteadyTime now);
  // The call was asked at `asked`. How long the replica is left out from now on, if it is: it fails too often, and no
  // more than half of all replicas are left out with it.
  std::optional<SteadyDuration> OnFailure(const std::string& replica, SteadyTime asked, SteadyTime now);

  // When the next of those that are left out comes back; nullopt if none is.
  std::optional<SteadyTime> NextReturn(SteadyTime now) const;
  // How many are left out.
  int Ejected(SteadyTime now) const;
  // All that are known and not left out. One that has come back is left out again after its first failure.
  std::vector<std::string> Remaining(SteadyTime now) const;
  bool IsLeftOut(const std::string& replica, SteadyTime now) const;

 private:
  struct Replica {
    SteadyTime heard{};
    SteadyTime failed{};  // last
    SteadyTime back{};    // when it was or will be asked again
    int failures = 0;     // in a row
    int ejections = 0;    // in a row
  };

  Replica& Hear(const std::string& replica, SteadyTime now);
  bool MayEject(SteadyTime now) const;

  std::map<std::string, Replica> replicas_;
};

}  // namespace diptych
