#include "vision_service/service.h"

#include "common/unary_reply.h"
#include "vision_service/analyze_call.h"

namespace diptych::vision {

grpc::ServerWriteReactor<grpc::ByteBuffer>* VisionRpc::EncodeImage(grpc::CallbackServerContext* context,
                                                                   const grpc::ByteBuffer* request) {
  return new EncodeCall(shared_, *context, *request);
}

grpc::ServerUnaryReactor* VisionRpc::AnalyzeVision(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return new AnalyzeVisionCall(shared_, *context, *request, response);
}

grpc::ServerUnaryReactor* VisionRpc::GetVisionModel(grpc::CallbackServerContext* context,
                                                    const v1::GetVisionModelRequest* /*request*/,
                                                    v1::GetVisionModelResponse* response) {
  *response->mutable_model() = *shared_.model;
  *response->mutable_load() = LoadOf(stats_());
  return ReplyNow(*context, absl::OkStatus());
}

}  // namespace diptych::vision
