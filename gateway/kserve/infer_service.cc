#include "gateway/kserve/infer_service.h"

#include <string>

#include "common/build_info.h"
#include "common/status.h"
#include "common/unary_reply.h"
#include "gateway/kserve/infer_call.h"
#include "gateway/kserve/infer_outputs.h"

namespace diptych::gateway {
namespace {

template <typename Request>
bool IsServed(const Request& request, const v1::ModelDescription& model) {
  return request.name() == model.name() && (request.version().empty() || request.version() == kModelVersion);
}

}  // namespace

grpc::ServerUnaryReactor* InferService::ServerLive(grpc::CallbackServerContext* context,
                                                   const inference::ServerLiveRequest*,
                                                   inference::ServerLiveResponse* response) {
  response->set_live(true);
  return ReplyNow(*context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferService::ServerReady(grpc::CallbackServerContext* context,
                                                    const inference::ServerReadyRequest*,
                                                    inference::ServerReadyResponse* response) {
  response->set_ready(environment_.ready());
  return ReplyNow(*context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferService::ModelReady(grpc::CallbackServerContext* context,
                                                   const inference::ModelReadyRequest* request,
                                                   inference::ModelReadyResponse* response) {
  const auto model = environment_.model();
  response->set_ready(environment_.ready() && model && IsServed(*request, *model));
  return ReplyNow(*context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferService::ServerMetadata(grpc::CallbackServerContext* context,
                                                       const inference::ServerMetadataRequest*,
                                                       inference::ServerMetadataResponse* response) {
  response->set_name("diptych");
  response->set_version(std::string(Version()));
  return ReplyNow(*context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferService::ModelMetadata(grpc::CallbackServerContext* context,
                                                      const inference::ModelMetadataRequest* request,
                                                      inference::ModelMetadataResponse* response) {
  if (const absl::Status status = environment_.identify(*context); !status.ok()) return ReplyNow(*context, status);
  const auto model = environment_.model();
  if (!model) {
    return ReplyNow(*context, MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable,
                                        "no language replica answers; the model is not known yet"));
  }
  if (!IsServed(*request, *model)) {
    return ReplyNow(*context, MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                                        "no such model is served here; GetModel tells the one that is"));
  }
  *response = MetadataOf(*model);
  return ReplyNow(*context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferService::ModelInfer(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartModelInfer(gateway_.get(), context, *request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferService::ModelStreamInfer(
    grpc::CallbackServerContext* context) {
  return StartModelStreamInfer(gateway_.get(), context);
}

}  // namespace diptych::gateway
