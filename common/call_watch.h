// Tells the threads that work on a call whether somebody still waits for its answer.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "common/stage.h"
#include "common/stage_clock.h"

namespace diptych {

// Thread-safe; shared by the call and everything that works for it.
class CallWatch {
 public:
  enum class Limit { kCaller, kServer };

  // SteadyTime::max() means no deadline. `limit`: whose it is.
  explicit CallWatch(SteadyTime deadline, Limit limit = Limit::kCaller) : deadline_(deadline), limit_(limit) {}

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  SteadyTime deadline() const { return deadline_; }
  Limit limit() const { return limit_; }

  // OK while the answer is wanted; CANCELLED, or DEADLINE_EXCEEDED that names `stage`.
  absl::Status Check(Stage stage, SteadyTime now = SteadyClock::now()) const;

 private:
  const SteadyTime deadline_;
  const Limit limit_;
  std::atomic<bool> cancelled_ = false;
};

// CANCELLED: nobody waits for the answer.
absl::Status CallerLeft();

// The error of a call whose deadline passed in `stage`, which its details name, too.
absl::Status DeadlinePassed(Stage stage);

// The watch of a call that has just arrived. Its deadline lies 2 % of the caller's time, and 1 to 50 ms,
// before the caller's own, so that an error which names the stage still reaches the caller. A call
// without a deadline gets `longest`.
std::shared_ptr<CallWatch> WatchCall(const grpc::ServerContextBase& context, SteadyDuration longest);

// `deadline` on the clock that gRPC's client contexts take.
std::chrono::system_clock::time_point ToSystemTime(SteadyTime deadline);

}  // namespace diptych
