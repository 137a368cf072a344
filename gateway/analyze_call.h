// The life of one AnalyzeImage at the gateway: parse, admit, ask the tiers, put together, finish.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <optional>

#include "common/replicas/replica_channels.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/language.grpc.pb.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/gateway_metrics.h"
#include "gateway/tiers/retry_budget.h"

namespace diptych::gateway {

// The parts of the server that each call uses. Outlives all calls.
struct AnalyzeEnvironment {
  Admission* admission;
  ReplicaStubs<v1::VisionService>* vision;
  ReplicaStubs<v1::LanguageService>* language;
  RetryBudget* retries;
  std::function<std::optional<v1::ModelDescription>()> model;  // of the language tier; nullopt while unknown
  SteadyDuration request_timeout;
  GatewayMetrics* metrics;
  const Tracer* tracer;
};

// Starts the call and returns its reactor, which deletes itself. `caller`: an error if it is unknown. The vision tier
// is asked, and for the queries' attention the language tier at the same time; the first that fails ends both.
grpc::ServerUnaryReactor* StartAnalyzeImage(const AnalyzeEnvironment& environment, absl::StatusOr<Caller> caller,
                                            grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                            grpc::ByteBuffer* response);

}  // namespace diptych::gateway
