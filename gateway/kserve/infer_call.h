// The life of one ModelInfer or ModelStreamInfer: read, ask the gateway's own service, translate.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "common/stage_clock.h"
#include "diptych/v1/gateway.grpc.pb.h"

namespace diptych::gateway {

// The caller, as far as this service needs to know.
struct InferCaller {
  absl::Status status;               // what is wrong with the call's authorization, as the gateway's own RPCs say it
  SteadyDuration patience;           // for its message
  std::shared_ptr<void> place = {};  // of its message among those on their way; released when it is there
};

// Each starts the call and returns its reactor, which deletes itself. `gateway` must outlive it.
grpc::ServerUnaryReactor* StartModelInfer(v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

// Answers the requests of the stream one after the other. A request that fails gets a response with error_message, and
// the stream goes on; without a good key it ends. `identify` is asked before each request is read; `call` is released
// with the reactor.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartModelStreamInfer(
    v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context, std::function<InferCaller()> identify,
    std::shared_ptr<void> call);

}  // namespace diptych::gateway
