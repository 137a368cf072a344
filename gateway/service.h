// The public RPC surface.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/analyze_call.h"
#include "gateway/ask_call.h"
#include "gateway/tiers/tier_watch.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// All parse their requests on their own, so that these are bounded before and text which is not UTF-8 gets its reason.
using RawTextService = v1::GatewayService::WithRawCallbackMethod_PlanContext<
    v1::GatewayService::WithRawCallbackMethod_Tokenize<v1::GatewayService::WithRawCallbackMethod_Detokenize<
        v1::GatewayService::WithRawCallbackMethod_GetModel<v1::GatewayService::Service>>>>;
using RawGatewayService =
    v1::GatewayService::WithRawCallbackMethod_Ask<v1::GatewayService::WithRawCallbackMethod_AskStream<
        v1::GatewayService::WithRawCallbackMethod_AnalyzeImage<RawTextService>>>;

// Translates between the wire and the classes that it is given. All must outlive it. Thread-safe.
class GatewayService final : public RawGatewayService {
 public:
  GatewayService(Tiers& tiers, Admission& admission, const TierWatch& watch, GatewayMetrics& metrics,
                 SteadyDuration request_timeout);

  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* AskStream(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* PlanContext(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* AnalyzeImage(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;

 private:
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
