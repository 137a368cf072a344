// Ends calls whose callers take nothing of what they are sent.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>

#include <memory>

#include "common/stage_clock.h"

namespace diptych {

// What a caller gets beyond its call's deadline to take the last message and the status.
inline constexpr SteadyDuration kLastWrites = std::chrono::seconds(5);

// Cancels a call at a moment, unless it is destroyed before: HTTP/2's flow control lets a caller hold back everything
// that is sent to it, for ever. What is being written then fails, and gRPC calls the reactor's OnCancel. Owned by the
// call's reactor; made before gRPC has the reactor, destroyed in OnDone. Thread-compatible.
class CallTimer {
 public:
  // `context` must outlive the timer.
  CallTimer(const grpc::ServerContextBase& context, SteadyTime at);
  // Never cancels after it has returned.
  ~CallTimer();

  CallTimer(const CallTimer&) = delete;
  CallTimer& operator=(const CallTimer&) = delete;

 private:
  class Target;

  const std::shared_ptr<Target> target_;
  grpc::Alarm alarm_;
};

}  // namespace diptych
