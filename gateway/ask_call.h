// The life of one Ask or AskStream at the gateway: parse, admit, relay, time, finish.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

#include "common/byte_budget.h"
#include "common/call_gate.h"
#include "common/stage_clock.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/admission.h"
#include "gateway/answer_clock.h"
#include "gateway/gateway_metrics.h"
#include "gateway/generate_call.h"

namespace diptych::gateway {

// What each call needs of the server. Outlives all calls.
struct AskEnvironment {
  v1::LanguageService::Stub* language;
  Admission* admission;
  std::function<std::string()> served_model;  // its name, empty while unknown
  SteadyDuration request_timeout;
  GatewayMetrics* metrics;
};

// What both kinds of call share. Confined to gRPC's callbacks, which come one at a time.
class AskCall : protected GenerateCall {
 protected:
  AskCall(const AskEnvironment& environment, grpc::CallbackServerContext* context, Repeatable repeatable);
  ~AskCall() override;

  // Reads the request, once there is memory for it.
  absl::Status Read(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);
  // Admits the question and sends it to the language tier. If that is refused nothing was started and no
  // callback follows.
  absl::Status Begin(v1::Question question);
  // Call with each delta before it is shown.
  void Observe(const v1::Delta& delta);
  // Adds what the gateway knows to the final message.
  void Complete(v1::Answer& answer) const;
  // Call once, before the caller learns of the end. `answer` if the call has one, else null.
  void Ended(const absl::Status& status, const v1::Answer* answer);

 private:
  const AskEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  const SteadyTime arrival_;
  AnswerClock clock_;
  std::string request_id_;
  absl::StatusCode outcome_ = absl::StatusCode::kOk;
  ByteBudget::Lease memory_;
  CallGate::Ticket ticket_;
};

// Each starts the call and returns its reactor, which deletes itself.
grpc::ServerUnaryReactor* StartAsk(const AskEnvironment& environment, grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer& request, grpc::ByteBuffer* response);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartAskStream(const AskEnvironment& environment,
                                                           grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer& request);

}  // namespace diptych::gateway
