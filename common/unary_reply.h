// The reactor of a unary call that has no class of its own.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/call_timer.h"

namespace diptych {

// Call Finish once, from any thread. Its caller has ten seconds from now on; then the call is cancelled. Deletes
// itself when gRPC is done with it.
class UnaryReply final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReply(const grpc::ServerContextBase& context)
      : timer_(context, SteadyClock::now() + std::chrono::seconds(10)) {}

  void OnDone() override { delete this; }

 private:
  const CallTimer timer_;
};

// Ends a call at once.
grpc::ServerUnaryReactor* ReplyNow(const grpc::ServerContextBase& context, const absl::Status& status);

}  // namespace diptych
