#include "gateway/kserve/infer_service.h"

#include <functional>
#include <string>
#include <utility>

#include "common/build_info.h"
#include "common/status.h"
#include "common/tier_errors.h"
#include "common/unary_reply.h"
#include "common/wire.h"
#include "gateway/kserve/infer_call.h"
#include "gateway/kserve/infer_outputs.h"
#include "inference/grpc_service.grpc.pb.h"

namespace diptych::gateway {
namespace {

// Answers at once: reads a request of this type and lets `fill` make the response.
template <typename Request, typename Response, typename Fill>
grpc::ServerUnaryReactor* AnswerNow(grpc::CallbackServerContext* context, const grpc::ByteBuffer& bytes,
                                    grpc::ByteBuffer* response, Fill fill) {
  Request request;
  Response filled;
  absl::Status status = ParseShortRequest(bytes, request);
  if (status.ok()) status = fill(request, filled);
  if (status.ok()) *response = SerializeMessage(filled);
  return ReplyNow(*context, status);
}

template <typename Request>
bool IsServed(const Request& request, const v1::ModelDescription& model) {
  return request.name() == model.name() && (request.version().empty() || request.version() == kModelVersion);
}

}  // namespace

InferService::InferService(InferEnvironment environment)
    : RawService(inference::GRPCInferenceService::service_full_name()), environment_(std::move(environment)) {
  const ReadRules anybody{.patience = kShortPatience};
  AddUnary("ServerLive", anybody, std::bind_front(&InferService::ServerLive, this));
  AddUnary("ServerReady", anybody, std::bind_front(&InferService::ServerReady, this));
  AddUnary("ModelReady", anybody, std::bind_front(&InferService::ModelReady, this));
  AddUnary("ServerMetadata", anybody, std::bind_front(&InferService::ServerMetadata, this));
  const ReadRules keyed{
      .wanted = [this](const grpc::CallbackServerContext& context) { return environment_.identify(context).ok(); }};
  AddUnary("ModelMetadata", keyed, std::bind_front(&InferService::ModelMetadata, this));
  AddUnary("ModelInfer", keyed, std::bind_front(&InferService::ModelInfer, this));
  AddBidiStream("ModelStreamInfer", std::bind_front(&InferService::ModelStreamInfer, this));
}

grpc::ServerUnaryReactor* InferService::ServerLive(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerNow<inference::ServerLiveRequest, inference::ServerLiveResponse>(context, *request, response,
                                                                                [](const auto&, auto& filled) {
                                                                                  filled.set_live(true);
                                                                                  return absl::OkStatus();
                                                                                });
}

grpc::ServerUnaryReactor* InferService::ServerReady(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerNow<inference::ServerReadyRequest, inference::ServerReadyResponse>(
      context, *request, response, [this](const auto&, auto& filled) {
        filled.set_ready(environment_.ready());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferService::ModelReady(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerNow<inference::ModelReadyRequest, inference::ModelReadyResponse>(
      context, *request, response, [this](const auto& asked, auto& filled) {
        const auto model = environment_.model();
        filled.set_ready(environment_.ready() && model && IsServed(asked, *model));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferService::ServerMetadata(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerNow<inference::ServerMetadataRequest, inference::ServerMetadataResponse>(
      context, *request, response, [](const auto&, auto& filled) {
        filled.set_name("diptych");
        filled.set_version(std::string(Version()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferService::ModelMetadata(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (const absl::Status status = environment_.identify(*context); !status.ok()) return ReplyNow(*context, status);
  return AnswerNow<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
      context, *request, response, [this](const auto& asked, auto& filled) {
        const auto model = environment_.model();
        if (!model) return TierUnavailable("no language replica answers; the model is not known yet");
        if (!IsServed(asked, *model)) {
          return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                           "no such model is served here; GetModel tells the one that is");
        }
        filled = MetadataOf(*model);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferService::ModelInfer(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (const absl::Status status = environment_.identify(*context); !status.ok()) return ReplyNow(*context, status);
  return StartModelInfer(gateway_.get(), context, *request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferService::ModelStreamInfer(
    grpc::CallbackServerContext* context) {
  return StartModelStreamInfer(gateway_.get(), context, environment_.identify(*context));
}

}  // namespace diptych::gateway
