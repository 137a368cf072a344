// The Open Inference Protocol v2 on the gateway's gRPC port.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/grpc/raw_service.h"
#include "common/stage_clock.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/kserve/infer_call.h"

namespace diptych::gateway {

// The parts of the server that the service uses. Outlives all calls.
struct InferEnvironment {
  // Asked for each message that is to come, with its call's headers.
  std::function<InferCaller(const grpc::ServerContextBase& context)> identify;
  std::function<std::optional<v1::ModelDescription>()> model;  // what is served; nullopt while unknown
  std::function<std::vector<std::string>()> model_names;       // all that it is served under, its own first
  std::function<bool()> ready;
};

// Translates; every request goes through the gateway's own RPCs on an in-process channel, so limits, admission,
// deadlines and errors are those of any other caller. Thread-safe.
class InferService final : public RawService {
 public:
  explicit InferService(InferEnvironment environment);

  // Before the first call; `channel` leads to the gateway's own service.
  void Connect(const std::shared_ptr<grpc::ChannelInterface>& channel) {
    gateway_ = v1::GatewayService::NewStub(channel);
  }

 private:
  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelMetadata(const absl::Status& identified, grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* ModelInfer(const absl::Status& identified, grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(grpc::CallbackServerContext* context,
                                                                                std::shared_ptr<void> call);

  bool IsServed(const std::string& name, const std::string& version) const;

  // `method` gets what is wrong with the caller's authorization, if anything is.
  Open<Unary> Identified(grpc::ServerUnaryReactor* (InferService::*method)(const absl::Status& identified,
                                                                           grpc::CallbackServerContext* context,
                                                                           const grpc::ByteBuffer* request,
                                                                           grpc::ByteBuffer* response),
                         Line line);

  const InferEnvironment environment_;
  std::unique_ptr<v1::GatewayService::Stub> gateway_;
};

}  // namespace diptych::gateway
