#include "gateway/kserve/infer_service.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "common/process/build_info.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
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

}  // namespace

InferService::InferService(InferEnvironment environment)
    : RawService(inference::GRPCInferenceService::service_full_name()), environment_(std::move(environment)) {
  AddUnary("ServerLive", std::bind_front(&InferService::ServerLive, this), Line::kFailed, kShortPatience);
  AddUnary("ServerReady", std::bind_front(&InferService::ServerReady, this), Line::kFailed, kShortPatience);
  AddUnary("ModelReady", std::bind_front(&InferService::ModelReady, this), Line::kFailed, kShortPatience);
  AddUnary("ServerMetadata", std::bind_front(&InferService::ServerMetadata, this), Line::kFailed, kShortPatience);
  AddUnary("ModelMetadata", Identified(&InferService::ModelMetadata, Line::kFailed));
  AddUnary("ModelInfer", Identified(&InferService::ModelInfer, Line::kOfMethod));
  AddBidiStream("ModelStreamInfer", std::bind_front(&InferService::ModelStreamInfer, this));
}

bool InferService::IsServed(const std::string& name, const std::string& version) const {
  const std::vector<std::string> names = environment_.model_names();
  return std::find(names.begin(), names.end(), name) != names.end() && (version.empty() || version == kModelVersion);
}

RawService::Open<RawService::Unary> InferService::Identified(
    grpc::ServerUnaryReactor* (InferService::*method)(const absl::Status& identified,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response),
    Line line) {
  return [this, method, line](const grpc::CallbackServerContext& context) {
    InferCaller caller = environment_.identify(context);
    return Opened<Unary>{
        .method = [this, method, status = caller.status](auto... call) { return (this->*method)(status, call...); },
        .reads = caller.status.ok(),
        .patience = caller.patience,
        .place = std::move(caller.place),
        .line = caller.status.ok() ? line : Line::kFailed};
  };
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
        filled.set_ready(environment_.ready() && IsServed(asked.name(), asked.version()));
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

grpc::ServerUnaryReactor* InferService::ModelMetadata(const absl::Status& identified,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (!identified.ok()) return ReplyNow(*context, identified);
  return AnswerNow<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
      context, *request, response, [this](const auto& asked, auto& filled) {
        const auto model = environment_.model();
        if (!model) return TierUnavailable("no language replica answers; the model is not known yet");
        if (!IsServed(asked.name(), asked.version())) {
          return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                           absl::StrCat("no such model is served here; the one that is has the name ", model->name(),
                                        " and version ", std::string(kModelVersion)));
        }
        filled = MetadataOf(*model);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferService::ModelInfer(const absl::Status& identified, grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (!identified.ok()) return ReplyNow(*context, identified);
  return StartModelInfer(gateway_.get(), context, *request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferService::ModelStreamInfer(
    grpc::CallbackServerContext* context, std::shared_ptr<void> call) {
  const auto identify = [this, context] { return environment_.identify(*context); };
  return StartModelStreamInfer(gateway_.get(), context, identify, std::move(call));
}

}  // namespace diptych::gateway
