// A process's channel to its own server.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "common/grpc/call_gate.h"

namespace diptych {

// gRPC 1.51 follows a null pointer where a call begins on an in-process channel whose server shuts down. Once this is
// closed, calls end with UNAVAILABLE in place of that. Thread-safe.
class OwnChannel final : public grpc::ChannelInterface {
 public:
  // `channel` leads to the server itself.
  explicit OwnChannel(std::shared_ptr<grpc::Channel> channel);

  // When it returns, no call begins on the server any more. Idempotent.
  void Close();

  grpc_connectivity_state GetState(bool try_to_connect) override { return channel_->GetState(try_to_connect); }

 private:
  grpc::internal::Call CreateCall(const grpc::internal::RpcMethod& method, grpc::ClientContext* context,
                                  grpc::CompletionQueue* queue) override;
  void PerformOpsOnCall(grpc::internal::CallOpSetInterface* ops, grpc::internal::Call* call) override;
  void* RegisterMethod(const char* method) override;
  void NotifyOnStateChangeImpl(grpc_connectivity_state last, gpr_timespec deadline, grpc::CompletionQueue* queue,
                               void* tag) override;
  bool WaitForStateChangeImpl(grpc_connectivity_state last, gpr_timespec deadline) override;
  grpc::CompletionQueue* CallbackCQ() override;

  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<grpc::Channel> closed_;  // all of whose calls fail
  CallGate beginning_;                           // calls that are being created
};

}  // namespace diptych
