// The public RPC surface.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "common/raw_service.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/analyze_call.h"
#include "gateway/ask_call.h"
#include "gateway/tiers/tier_watch.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Translates between the wire and the classes that it is given. All must outlive it. Thread-safe.
class GatewayService final : public RawService {
 public:
  GatewayService(Tiers& tiers, Admission& admission, const TierWatch& watch, GatewayMetrics& metrics,
                 SteadyDuration request_timeout);

 private:
  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                grpc::ByteBuffer* response);
  grpc::ServerWriteReactor<grpc::ByteBuffer>* AskStream(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request);
  grpc::ServerUnaryReactor* PlanContext(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* AnalyzeImage(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response);

  // The caller of a request without images, which is read into `message`.
  absl::StatusOr<Caller> Admit(const grpc::CallbackServerContext& context, const grpc::ByteBuffer& request,
                               google::protobuf::Message& message) const;

  Tiers& tiers_;
  Admission& admission_;
  const TierWatch& watch_;
  const AskEnvironment environment_;
  const AnalyzeEnvironment analyze_environment_;
};

}  // namespace diptych::gateway
