// One AnalyzeVision call.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "vision_service/encode_call.h"

namespace diptych::vision {

// Takes an image the way EncodeCall does, through the same gate, memory, workers and engine, and answers with what was
// seen in place of the tokens. A caller that goes away ends it at once. Deletes itself when gRPC is done with it.
class AnalyzeVisionCall final : public grpc::ServerUnaryReactor {
 public:
  AnalyzeVisionCall(const EncodeContext& shared, const grpc::CallbackServerContext& context,
                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  absl::Status Begin(const grpc::ByteBuffer& request);
  // On the thread that has the outcome.
  void Deliver(absl::StatusOr<EncodeResult> image);
  v1::AnalyzeVisionResponse Describe(const EncodeResult& image) const;
  // Makes room and counts the call before its caller can come back. `timings` if it was answered, else null.
  void End(const absl::Status& status, const EncodeTimings* timings);

  const EncodeContext& shared_;
  grpc::ByteBuffer* const response_;
  const SteadyTime arrival_ = SteadyClock::now();
  const std::shared_ptr<CallContext> call_;
  const std::shared_ptr<EncodeWaiter> waiter_;
  const CallTimer timer_;
  Span span_;
  std::string request_id_;
  const std::string key_name_;
  FairPlaces::Place place_;
  EncodeExtras extras_;
  v1::ImageSize image_size_;
  std::shared_ptr<const void> memory_;  // of the answer, until it is sent
};

}  // namespace diptych::vision
