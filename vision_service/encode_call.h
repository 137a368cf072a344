// One EncodeImage call.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "common/grpc/call_context.h"
#include "common/grpc/call_timer.h"
#include "common/tracing/span.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/vision.pb.h"
#include "vision_service/encoder.h"
#include "vision_service/fair_places.h"
#include "vision_service/vision_metrics.h"

namespace diptych::vision {

// The parts of the server that all calls with an image share. Not owned; outlives them.
struct EncodeContext {
  const v1::ModelDescription* model;
  ImageLimits limits;
  SteadyDuration longest_call;
  FairPlaces* places;
  Encoder* encoder;
  VisionMetrics* metrics;
  const Tracer* tracer;
};

// Checks the request, waits at the encoder for its image, and streams the outcome message by message, as fast as
// the caller reads, but no longer than kLastWrites after its deadline. A caller that goes away ends it at once, unless
// its outcome is already there: then the writes that fail end it. Deletes itself when gRPC is done with it.
class EncodeCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  EncodeCall(const EncodeContext& shared, const grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);

  void OnCancel() override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  absl::Status Begin(const grpc::ByteBuffer& request);
  // On the thread that has the outcome.
  void Deliver(absl::StatusOr<EncodeResult> image);
  void WriteNext();
  void End(const absl::Status& status);
  // Makes room and counts the call before its caller can come back.
  void ReleaseAndCount(const absl::Status& status);

  const EncodeContext& shared_;
  const SteadyTime arrival_ = SteadyClock::now();
  const std::shared_ptr<CallContext> call_;
  const std::shared_ptr<EncodeWaiter> waiter_;
  const CallTimer timer_;
  Span span_;
  std::string request_id_;
  const std::string key_name_;
  FairPlaces::Place place_;
  EncodeResult image_;
  int next_message_ = 0;
  grpc::ByteBuffer message_;  // being written
};

}  // namespace diptych::vision
