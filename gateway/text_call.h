// Questions to the language tier's tokenizer, which run no model.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/grpc/call_context.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/message_checksum.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "common/replicas/tier_errors.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/passed_deadline.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

inline constexpr auto kTextPatience = std::chrono::seconds(5);

// One question; deletes itself when it is answered.
template <typename Request, typename Response>
struct TextCall {
  TextCall(grpc::CallbackServerContext& caller, std::shared_ptr<Admission::Memory> memory, Tiers& tiers)
      : memory(std::move(memory)), caller(caller), tiers(tiers), call(MakeCallContext(caller, kTextPatience)) {
    tiers.retries->OnRequest(SteadyClock::now());
  }

  void BeginAttempt() {
    context = grpc::ClientContext::FromCallbackServerContext(caller);
    context->set_deadline(call->deadline());
    SendRequestId(*context, RequestIdOf(caller));
    SendChecksum(*context, request);
    response.Clear();
  }

  std::optional<SteadyDuration> PauseBeforeRepeat(const grpc::Status& status) {
    if (caller.IsCancelled() || RetryOf(status) != Retry::kAnotherReplica) return std::nullopt;
    return PauseAfterLoss(patience, *tiers.language->channels(), *tiers.retries, call->deadline());
  }

  absl::Status ForCaller(const grpc::Status& status) const {
    return ExplainDeadline(FromTier(status, "language", Stage::kTokenize), *call, {kTextPatience, ""});
  }

  const std::shared_ptr<Admission::Memory> memory;
  grpc::CallbackServerContext& caller;
  Tiers& tiers;
  const std::shared_ptr<const CallContext> call;
  LossPatience patience;
  grpc::Alarm pause;
  std::unique_ptr<grpc::ClientContext> context;  // of the last attempt
  Request request;
  Response response;
};

// Sends the call, and again while no replica that was asked has answered; `done` gets the last status.
template <typename Call, typename Send, typename Done>
void SendText(Call* call, Send send, Done done) {
  call->BeginAttempt();
  send(call->context.get(), &call->request, &call->response,
       [call, send, done = std::move(done)](const grpc::Status& status) {
         const auto pause = call->PauseBeforeRepeat(status);
         if (!pause) return done(status);
         call->pause.Set(SteadyClock::now() + *pause, [call, send, done](bool) { SendText(call, send, done); });
       });
}

// Asks the tier by `send`, a call of its asynchronous stub, and replies with the message, or the error, that `answer`
// makes of what it says. The caller's own cancellation and deadline, and kTextPatience, end the call. `memory` is what
// the request takes; what the tier says is added, and all of it is released when the reply has left. A replica that
// went away hands the question on, as far as the retries of `tiers`, which outlive the call, allow. Errors: those of
// FromTier and Admission::Reserve.
template <typename Request, typename Response, typename Send, typename Answer>
grpc::ServerUnaryReactor* AskTokenizer(grpc::CallbackServerContext& caller, std::shared_ptr<Admission::Memory> memory,
                                       Tiers& tiers, Request request, grpc::ByteBuffer* reply, Send send,
                                       Answer answer) {
  auto* reactor = new UnaryReply(caller, memory);
  auto* call = new TextCall<Request, Response>(caller, std::move(memory), tiers);
  call->request = std::move(request);
  SendText(call, std::move(send), [call, reactor, reply, answer = std::move(answer)](const grpc::Status& status) {
    const std::unique_ptr<TextCall<Request, Response>> owned(call);
    if (!status.ok()) return reactor->Finish(ToGrpcStatus(call->ForCaller(status)));
    const absl::Status kept = call->memory->Grow(static_cast<int64_t>(call->response.ByteSizeLong()));
    if (!kept.ok()) return reactor->Finish(ToGrpcStatus(kept));
    const auto answered = answer(call->response);
    if (answered.ok()) *reply = SerializeMessage(*answered);
    reactor->Finish(ToGrpcStatus(answered.status()));
  });
  return reactor;
}

}  // namespace diptych::gateway
