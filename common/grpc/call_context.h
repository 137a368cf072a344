// The deadline of a call and whether its caller still waits.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "common/grpc/steady_deadline.h"
#include "common/stage.h"
#include "common/stage_clock.h"

namespace diptych {

// Shared by the call and all that works for it; each asks Check before a costly step. Thread-safe.
class CallContext {
 public:
  // The origin of the deadline.
  enum class Limit { kCaller, kServer };

  // SteadyTime::max(): no deadline.
  explicit CallContext(SteadyTime deadline, Limit limit = Limit::kCaller) : deadline_(deadline), limit_(limit) {}

  // The caller no longer waits. Idempotent.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  SteadyTime deadline() const { return deadline_; }
  Limit limit() const { return limit_; }

  // OK while the caller waits; else CANCELLED, or DEADLINE_EXCEEDED naming `stage`.
  absl::Status Check(Stage stage, SteadyTime now = SteadyClock::now()) const;

 private:
  const SteadyTime deadline_;
  const Limit limit_;
  std::atomic<bool> cancelled_ = false;
};

// CANCELLED: the caller no longer waits.
absl::Status CallerLeft();

// DEADLINE_EXCEEDED, naming `stage` in the message and in the details.
absl::Status DeadlinePassed(Stage stage);

// For a call that has just arrived. The deadline is at most `longest` from now, and earlier than the caller's own by
// 2 % of the time that is left (1 to 50 ms), so that the error that names the stage still arrives.
std::shared_ptr<CallContext> MakeCallContext(const grpc::ServerContextBase& context, SteadyDuration longest);

}  // namespace diptych
