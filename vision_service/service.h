// VisionService as gRPC sees it: translates, and holds no state of its own.
#pragma once

#include <functional>
#include <utility>

#include "diptych/v1/vision.grpc.pb.h"
#include "vision_service/encode_call.h"

namespace diptych::vision {

// All parse their own requests, so that they are bounded before and a malformed one gets a reason.
using RawVisionService =
    v1::VisionService::WithRawCallbackMethod_EncodeImage<v1::VisionService::WithRawCallbackMethod_AnalyzeVision<
        v1::VisionService::WithRawCallbackMethod_GetVisionModel<v1::VisionService::Service>>>;

// Thread-safe.
class VisionService final : public RawVisionService {
 public:
  // `stats` gives the numbers of the moment.
  VisionService(const EncodeContext& shared, std::function<VisionStats()> stats)
      : shared_(shared), stats_(std::move(stats)) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* EncodeImage(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* AnalyzeVision(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetVisionModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;

 private:
  const EncodeContext shared_;
  const std::function<VisionStats()> stats_;
};

}  // namespace diptych::vision
