// The public RPC surface.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "common/grpc/raw_service.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/analyze_call.h"
#include "gateway/ask_call.h"
#include "gateway/tiers/tier_monitor.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Translates between the wire and the classes that it is given. All must outlive it. Thread-safe.
class GatewayService final : public RawService {
 public:
  GatewayService(Tiers& tiers, Admission& admission, const TierMonitor& monitor, GatewayMetrics& metrics,
                 const Tracer& tracer, SteadyDuration request_timeout);

 private:
  grpc::ServerUnaryReactor* Ask(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerWriteReactor<grpc::ByteBuffer>* AskStream(const absl::StatusOr<Caller>& caller,
                                                        grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request);
  grpc::ServerUnaryReactor* PlanContext(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* Tokenize(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* Detokenize(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* AnalyzeImage(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* GetModel(const absl::StatusOr<Caller>& caller, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response);

  // Identifies the caller with the call's headers: `method` gets it or the error.
  template <typename Method, typename Keyed>
  Open<Method> Identified(Keyed method, Line line = Line::kOfMethod);

  // Reads a request without images once there is memory for it, which it holds until its reply has left.
  using TextMemory = absl::StatusOr<std::shared_ptr<Admission::Memory>>;
  TextMemory Read(const absl::StatusOr<Caller>& caller, const grpc::ByteBuffer& request,
                  google::protobuf::Message& message) const;
  // The same, if `caller` is within its rate.
  TextMemory Admit(const absl::StatusOr<Caller>& caller, const grpc::ByteBuffer& request,
                   google::protobuf::Message& message) const;

  Tiers& tiers_;
  Admission& admission_;
  const TierMonitor& monitor_;
  const AskEnvironment environment_;
  const AnalyzeEnvironment analyze_environment_;
};

}  // namespace diptych::gateway
