// Tells the threads that work on a call whether somebody still waits for its answer.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "common/stage_clock.h"

namespace diptych {

// Thread-safe; shared by the call and everything that works for it.
class CallWatch {
 public:
  // SteadyTime::max() means no deadline.
  explicit CallWatch(SteadyTime deadline) : deadline_(deadline) {}

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  SteadyTime deadline() const { return deadline_; }

  // OK while the answer is wanted; CANCELLED, or DEADLINE_EXCEEDED with a message that names `stage`.
  absl::Status Check(std::string_view stage, SteadyTime now = SteadyClock::now()) const;

 private:
  const SteadyTime deadline_;
  std::atomic<bool> cancelled_ = false;
};

// The error of a call whose deadline passed in `stage`.
absl::Status DeadlinePassed(std::string_view stage);

// The watch of a call that has just arrived. Its deadline lies 2 % of the caller's time, and 1 to 50 ms,
// before the caller's own, so that an error which names the stage still reaches the caller. A call
// without a deadline gets `longest`.
std::shared_ptr<CallWatch> WatchCall(const grpc::ServerContextBase& context, SteadyDuration longest);

// `deadline` on the clock that gRPC's client contexts take.
std::chrono::system_clock::time_point ToSystemTime(SteadyTime deadline);

}  // namespace diptych
