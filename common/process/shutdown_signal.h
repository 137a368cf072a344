// SIGINT and SIGTERM as something that main can wait for.
#pragma once

#include <csignal>
#include <thread>

#include "absl/time/time.h"

namespace diptych {

// Construct before the first thread starts, so that every thread inherits the blocked mask.
class ShutdownSignal {
 public:
  ShutdownSignal();
  // Waits for one of the two, but no longer than `time`; false if neither came.
  bool WaitFor(absl::Duration time);

  // While it lives one of the two ends the process at once, with 0: for a start that may take minutes, when nobody is
  // served yet.
  class EndsAtOnce {
   public:
    explicit EndsAtOnce(const ShutdownSignal& signal);
    ~EndsAtOnce();
    EndsAtOnce(const EndsAtOnce&) = delete;
    EndsAtOnce& operator=(const EndsAtOnce&) = delete;

   private:
    std::thread waiting_;
  };

 private:
  sigset_t signals_;
};

}  // namespace diptych
