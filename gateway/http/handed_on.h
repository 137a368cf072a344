// Metadata of the gateway's own RPCs that answer an HTTP request: a part of its header, and the place that they
// share.
#pragma once

#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "common/grpc/metadata.h"
#include "common/tracing/trace_context.h"

namespace diptych::gateway {

struct HandedOn {
  std::string authorization;  // empty: none is needed
  TraceContext trace;
  std::string request_id;
  std::shared_ptr<const std::string> place =
      nullptr;  // its name, held until all have been sent; null: each has its own

  void AddTo(grpc::ClientContext& context) const {
    if (!authorization.empty()) AddMetadata(context, "authorization", authorization);
    if (place != nullptr) SendPlace(context, *place);
    SendTraceContext(context, trace);
    SendRequestId(context, request_id);
  }
};

}  // namespace diptych::gateway
