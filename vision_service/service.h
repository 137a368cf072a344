// VisionService as gRPC sees it: translates, and holds no state of its own.
#pragma once

#include <functional>

#include "common/grpc/raw_service.h"
#include "vision_service/encode_call.h"

namespace diptych::vision {

// Thread-safe.
class VisionService final : public RawService {
 public:
  // `stats` gives the numbers of the moment.
  VisionService(const EncodeContext& shared, std::function<VisionStats()> stats);

 private:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* EncodeImage(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request);
  grpc::ServerUnaryReactor* AnalyzeVision(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* GetVisionModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response);

  const EncodeContext shared_;
  const std::function<VisionStats()> stats_;
};

}  // namespace diptych::vision
