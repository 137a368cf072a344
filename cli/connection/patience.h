// Asking again when the server is full.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/steady_clock.h"

namespace diptych::cli {

// For one answer. Decides only; its user waits. Thread-compatible.
class Patience {
 public:
  static constexpr int kMaxTries = 6;

  // No wait reaches `deadline`.
  explicit Patience(SteadyTime deadline) : deadline_(deadline) {}

  // How long to wait before the next try, after a try at `now` ended with `status`: the time that the server asked for
  // and up to a quarter more, so that those who were refused together do not come back together. Nullopt if another try
  // would not help: any other error, too many tries, or the deadline comes first.
  std::optional<absl::Duration> WaitAfter(const absl::Status& status, SteadyTime now);

 private:
  const SteadyTime deadline_;
  int tries_ = 0;
};

}  // namespace diptych::cli
