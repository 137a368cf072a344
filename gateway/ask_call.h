// The life of one Ask or AskStream at the gateway: parse, admit, relay, time, finish.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/grpc/call_context.h"
#include "common/grpc/call_timer.h"
#include "common/stage_clock.h"
#include "common/tracing/span.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/answer_clock.h"
#include "gateway/gateway_metrics.h"
#include "gateway/tiers/language_stream.h"

namespace diptych::gateway {

// The parts of the server that each call uses. Outlives all calls.
struct AskEnvironment {
  Admission* admission;
  ReplicaStubs<v1::LanguageService>* language;
  RetryBudget* retries;
  SteadyDuration request_timeout;
  GatewayMetrics* metrics;
  const Tracer* tracer;
};

// The common part of both kinds of call. Confined to gRPC's callbacks, which come one at a time.
class AskCall : protected LanguageStream {
 protected:
  // `method`: of the RPC.
  AskCall(const AskEnvironment& environment, grpc::CallbackServerContext* context, std::string_view method);

  // Identifies the caller and reads the request, once there is memory for it.
  absl::Status Read(absl::StatusOr<Caller> caller, const grpc::ByteBuffer& bytes, google::protobuf::Message& request);
  // Lets the question in and sends it to the language tier. OnEnd comes in any case, also before it returns; from
  // another thread only once gRPC has the reactor.
  void Begin(v1::Question question);
  // The caller left, or its deadline passed. Also while other callbacks run.
  void Abandon() { admitted_.Abandon(); }
  // Call with each message before it is shown.
  void Observe(const v1::GenerateResponse& message);
  // In the words of the caller, or the gateway's own; never what a tier says.
  const std::string& request_id() const { return request_id_; }
  // Adds what the gateway knows to the final message.
  void Complete(v1::Answer& answer) const;
  // The status that the caller gets.
  absl::Status ForCaller(const absl::Status& status) const;
  // Says in UNAVAILABLE how many tokens the caller of a stream has got.
  absl::Status WithTokensEmitted(const absl::Status& status) const;
  // Gives back what the call held. Call before its last message leaves: the answer, null where there is none.
  // Idempotent.
  void Release(const v1::Answer* answer);
  // Call once, before the caller learns of the end. `answer` if the call has one, else null.
  void Ended(const absl::Status& status, const v1::Answer* answer);

 private:
  AskCall(const AskEnvironment& environment, grpc::CallbackServerContext* context, std::string_view method,
          std::shared_ptr<const CallContext> call);
  void EndSpan(const absl::Status& status, const v1::Answer* answer);

  const AskEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<const CallContext> call_;
  const SteadyTime arrival_;
  const CallTimer timer_;
  Span span_;
  AnswerClock clock_;
  std::string request_id_;
  AdmittedCall admitted_;
  int turns_dropped_ = 0;                             // before the question was let in
  int64_t prompt_tokens_ = 0, generated_tokens_ = 0;  // as far as is known before the end
};

// Each starts the call and returns its reactor, which deletes itself. `caller`: an error if it is unknown.
grpc::ServerUnaryReactor* StartAsk(const AskEnvironment& environment, absl::StatusOr<Caller> caller,
                                   grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                   grpc::ByteBuffer* response);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartAskStream(const AskEnvironment& environment,
                                                           absl::StatusOr<Caller> caller,
                                                           grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer& request);

}  // namespace diptych::gateway
