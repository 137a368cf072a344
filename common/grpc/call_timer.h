// Ends calls whose callers do not read.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>

#include <memory>

#include "common/stage_clock.h"

namespace diptych {

// Time after a call's deadline in which the caller can read the last message and the status.
inline constexpr SteadyDuration kLastWrites = std::chrono::seconds(5);

// Cancels a call at a given time: by HTTP/2's flow control a caller that does not read can hold a call open forever.
// A write in progress then fails, and gRPC calls the reactor's OnCancel. Owned by the call's reactor: construct it
// before gRPC has the reactor, destroy it in OnDone. Thread-compatible.
class CallTimer {
 public:
  // `context` must outlive the timer.
  CallTimer(const grpc::ServerContextBase& context, SteadyTime at);
  // When it returns, the call will not be cancelled any more.
  ~CallTimer();

  CallTimer(const CallTimer&) = delete;
  CallTimer& operator=(const CallTimer&) = delete;

 private:
  class Target;

  const std::shared_ptr<Target> target_;
  grpc::Alarm alarm_;
};

}  // namespace diptych
