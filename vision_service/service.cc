#include "vision_service/service.h"

#include "common/unary_reply.h"
#include "common/wire.h"
#include "vision_service/analyze_call.h"

namespace diptych::vision {

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
