// One EncodeImage call.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "common/call_gate.h"
#include "common/call_watch.h"
#include "vision_service/encode_job.h"
#include "vision_service/image_workers.h"

namespace diptych {

// What all calls share. Not owned; outlives them.
struct EncodeContext {
  const v1::ModelDescription* model;
  ImageLimits limits;
  SteadyDuration longest_call;
  CallGate* gate;
  ImageWorkers* workers;
};

// Checks the request, hands it to the image workers, and streams the outcome message by message, as fast as the
// caller reads. Deletes itself when gRPC is done with it.
class EncodeCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  EncodeCall(const EncodeContext& shared, const grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);

  void OnCancel() override { watch_->Cancel(); }
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  absl::Status Begin(const grpc::ByteBuffer& request);
  // On the thread that has the outcome.
  void Deliver(absl::StatusOr<EncodedImage> image);
  void WriteNext();
  void End(const absl::Status& status);

  const EncodeContext& shared_;
  const std::shared_ptr<CallWatch> watch_;
  CallGate::Ticket ticket_;
  EncodedImage image_;
  int next_message_ = 0;
  grpc::ByteBuffer message_;  // being written
};

}  // namespace diptych
