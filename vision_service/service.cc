#include "vision_service/service.h"

#include <utility>

#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "vision_service/analyze_call.h"

namespace diptych::vision {

VisionService::VisionService(const EncodeContext& shared, std::function<VisionStats()> stats)
    : RawService(v1::VisionService::service_full_name()), shared_(shared), stats_(std::move(stats)) {
  AddServerStream("EncodeImage", std::bind_front(&VisionService::EncodeImage, this));
  AddUnary("AnalyzeVision", std::bind_front(&VisionService::AnalyzeVision, this), Line::kOfMethod);
  AddUnary("GetVisionModel", std::bind_front(&VisionService::GetVisionModel, this), Line::kFailed, kShortPatience);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* VisionService::EncodeImage(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* request) {
  return new EncodeCall(shared_, *context, *request);
}

grpc::ServerUnaryReactor* VisionService::AnalyzeVision(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return new AnalyzeVisionCall(shared_, *context, *request, response);
}

grpc::ServerUnaryReactor* VisionService::GetVisionModel(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::GetVisionModelRequest read;
  const absl::Status status = ParseTextRequest(*request, read);
  if (status.ok()) {
    v1::GetVisionModelResponse description;
    *description.mutable_model() = *shared_.model;
    *description.mutable_load() = LoadOf(stats_());
    *response = SerializeMessage(description);
  }
  return ReplyNow(*context, status);
}

}  // namespace diptych::vision
