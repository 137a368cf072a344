// Answers calls of methods that the server does not have.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include "common/grpc/connection_calls.h"

namespace diptych {

// UNIMPLEMENTED with its reason, where gRPC itself would give the bare code. Thread-safe.
class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  UnknownMethods();
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

 private:
  ConnectionCalls calls_;
};

}  // namespace diptych
