// One AnalyzeQueries call.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "language_service/generate_call.h"

namespace diptych::language {

// Gets its image as GenerateCall does, from the store or the vision tier and through the Q-Former, and answers with
// where each query looked. Deletes itself when gRPC is done with it.
class AnalyzeQueriesCall final : public grpc::ServerUnaryReactor {
 public:
  AnalyzeQueriesCall(const GenerateContext& shared, const grpc::CallbackServerContext& context,
                     const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  absl::Status Begin(const grpc::ByteBuffer& request);
  void OnImages(const absl::StatusOr<CollectedImages>& collected);
  // Makes room and counts the call before its caller can come back.
  void End(const absl::Status& status);

  const GenerateContext& shared_;
  grpc::ByteBuffer* const response_;
  const SteadyTime arrival_ = SteadyClock::now();
  const std::shared_ptr<CallContext> call_;
  const CallTimer timer_;
  Span span_;
  std::string request_id_;
  const std::string key_name_;
  std::string vision_replica_;  // that was waited for last
  CallGate::Ticket ticket_;
  ByteBudget::Lease memory_;
  std::shared_ptr<ImageCollector> images_;  // set before gRPC knows the call, so before OnCancel
};

}  // namespace diptych::language
