// The life of one ModelInfer or ModelStreamInfer: read, ask the gateway's own service, translate.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/status.h"
#include "diptych/v1/gateway.grpc.pb.h"

namespace diptych::gateway {

// Each starts the call and returns its reactor, which deletes itself. `gateway` must outlive it.
grpc::ServerUnaryReactor* StartModelInfer(v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

// Answers the requests of the stream one after the other. A request that fails gets a response with error_message, and
// the stream goes on; without a good key it ends. `identified`: what is wrong with the caller's key; then nothing is
// read. `call` is released with the reactor.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartModelStreamInfer(v1::GatewayService::Stub* gateway,
                                                                                   grpc::CallbackServerContext* context,
                                                                                   const absl::Status& identified,
                                                                                   std::shared_ptr<void> call);

}  // namespace diptych::gateway
