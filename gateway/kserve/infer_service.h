// The Open Inference Protocol v2 on the gateway's gRPC port.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/raw_service.h"
#include "diptych/v1/gateway.grpc.pb.h"

namespace diptych::gateway {

// What the service needs of the server. Outlives all calls.
struct InferEnvironment {
  // What is wrong with a call's authorization. Also what the gateway's own RPCs say of it.
  std::function<absl::Status(const grpc::ServerContextBase& context)> identify;
  std::function<std::optional<v1::ModelDescription>()> model;  // what is served; nullopt while unknown
  std::function<bool()> ready;
};

// Translates; every request goes through the gateway's own RPCs on an in-process channel, so limits, admission,
// deadlines and errors are those of any other caller. Thread-safe.
class InferService final : public RawService {
 public:
  explicit InferService(InferEnvironment environment);

  // Before the first call; `channel` leads to the gateway's own service.
  void Connect(const std::shared_ptr<grpc::Channel>& channel) { gateway_ = v1::GatewayService::NewStub(channel); }

 private:
  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(grpc::CallbackServerContext* context);

  const InferEnvironment environment_;
  std::unique_ptr<v1::GatewayService::Stub> gateway_;
};

}  // namespace diptych::gateway
