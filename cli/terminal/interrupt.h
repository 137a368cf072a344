// Ctrl-C as a request to end the running command, with its results so far.
#pragma once

#include <sys/types.h>

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace diptych::cli {

inline constexpr int kInterrupted = 130;  // exit code, as shells have it

// From here on SIGINT is remembered instead of ending the program; a second one before ForgetInterrupt ends it at once.
// May be called again.
void CatchInterrupts();

// Whether SIGINT has come. Thread-safe.
bool Interrupted();

// As if it had not come. While no command runs.
void ForgetInterrupt();

// Waits; false, at once, if SIGINT has come or comes.
bool SleepUnlessInterrupted(absl::Duration duration);

// CANCELLED if SIGINT has come, else OK.
absl::Status CheckInterrupt();

// Calls `then` when SIGINT comes, at once if it has come; on a thread that all share, so `then` must not wait. When it
// is destroyed `then` does not run and will not. Thread-safe.
class OnInterrupt {
 public:
  explicit OnInterrupt(std::function<void()> then);
  ~OnInterrupt();
  OnInterrupt(const OnInterrupt&) = delete;
  OnInterrupt& operator=(const OnInterrupt&) = delete;

 private:
  const std::function<void()> then_;
};

// Reads bytes until SIGINT comes, also where it comes just before the read. Thread-compatible.
class InterruptibleReader {
 public:
  InterruptibleReader();
  ~InterruptibleReader();

  // As read(2) of one byte of `file`, but -1 after SIGINT.
  ssize_t Read(int file, char& byte);

 private:
  const int wake_;  // an eventfd
  const OnInterrupt on_interrupt_;
};

}  // namespace diptych::cli
