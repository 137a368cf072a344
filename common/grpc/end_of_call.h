// Ends calls to peers that have said all and do not end them.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>

#include "common/grpc/steady_deadline.h"
#include "common/stage_clock.h"

namespace diptych {

// Owned by the call's reactor, which it may outlive in part: what it cancels then has ended already. Thread-compatible.
class EndOfCall {
 public:
  // From the last message to the status.
  static constexpr SteadyDuration kPatience = std::chrono::seconds(1);

  // The last message has come: the call is cancelled if it does not end soon. Once.
  void Expect(std::shared_ptr<grpc::ClientContext> call) {
    alarm_.Set(SteadyClock::now() + kPatience, [call = std::move(call)](bool in_time) {
      if (in_time) call->TryCancel();
    });
  }

 private:
  grpc::Alarm alarm_;
};

}  // namespace diptych
