// The reactor of a unary call that has no class of its own.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "common/grpc/call_timer.h"

namespace diptych {

// Call Finish once, from any thread. Its caller has ten seconds from now on; then the call is cancelled. Deletes
// itself when gRPC is done with it.
class UnaryReply final : public grpc::ServerUnaryReactor {
 public:
  // `held` is released when the reply has left, or never will.
  explicit UnaryReply(const grpc::ServerContextBase& context, std::shared_ptr<void> held = nullptr)
      : held_(std::move(held)), timer_(context, SteadyClock::now() + std::chrono::seconds(10)) {}

  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<void> held_;
  const CallTimer timer_;
};

// Ends a call at once.
grpc::ServerUnaryReactor* ReplyNow(const grpc::ServerContextBase& context, const absl::Status& status);

}  // namespace diptych
