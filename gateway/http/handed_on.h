// The part of an HTTP request's header that goes with the gateway's own RPCs.
#pragma once

#include <grpcpp/client_context.h>

#include <string>

#include "common/metadata.h"
#include "common/trace_context.h"

namespace diptych::gateway {

struct HandedOn {
  std::string authorization;  // empty: none is needed
  TraceContext trace;

  void AddTo(grpc::ClientContext& context) const {
    if (!authorization.empty()) AddMetadata(context, "authorization", authorization);
    SendTraceContext(context, trace);
  }
};

}  // namespace diptych::gateway
