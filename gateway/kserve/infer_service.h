// The Open Inference Protocol v2 on the gateway's gRPC port.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"

namespace diptych::gateway {

// What the service needs of the server. Outlives all calls.
struct InferEnvironment {
  // What is wrong with a call's authorization. Also what the gateway's own RPCs say of it.
  std::function<absl::Status(const grpc::ServerContextBase& context)> identify;
  std::function<std::optional<v1::ModelDescription>()> model;  // what is served; nullopt while unknown
  std::function<bool()> ready;
};

// All parse their requests on their own, so that these are bounded before.
using RawInferService = inference::GRPCInferenceService::WithRawCallbackMethod_ModelInfer<
    inference::GRPCInferenceService::WithRawCallbackMethod_ModelStreamInfer<
        inference::GRPCInferenceService::WithRawCallbackMethod_ServerLive<
            inference::GRPCInferenceService::WithRawCallbackMethod_ServerReady<
                inference::GRPCInferenceService::WithRawCallbackMethod_ModelReady<
                    inference::GRPCInferenceService::WithRawCallbackMethod_ServerMetadata<
                        inference::GRPCInferenceService::WithRawCallbackMethod_ModelMetadata<
                            inference::GRPCInferenceService::Service>>>>>>>;

// Translates; every request goes through the gateway's own RPCs on an in-process channel, so limits, admission,
// deadlines and errors are those of any other caller. Thread-safe.
class InferService final : public RawInferService {
 public:
  explicit InferService(InferEnvironment environment) : environment_(std::move(environment)) {}

  // Before the first call; `channel` leads to the gateway's own service.
  void Connect(const std::shared_ptr<grpc::Channel>& channel) { gateway_ = v1::GatewayService::NewStub(channel); }

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(
      grpc::CallbackServerContext* context) override;

 private:
  const InferEnvironment environment_;
  std::unique_ptr<v1::GatewayService::Stub> gateway_;
};

}  // namespace diptych::gateway
