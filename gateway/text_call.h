// Questions to the language tier's tokenizer, which run no model.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <utility>

#include "common/call_context.h"
#include "common/grpc_status.h"
#include "common/tier_errors.h"
#include "common/unary_reply.h"
#include "common/wire.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/admission/admission.h"
#include "gateway/passed_deadline.h"

namespace diptych::gateway {

inline constexpr auto kTextPatience = std::chrono::seconds(5);

// One question; deletes itself when it is answered.
template <typename Request, typename Response>
struct TextCall {
  TextCall(grpc::CallbackServerContext& caller, std::shared_ptr<Admission::Memory> memory)
      : memory(std::move(memory)),
        context(grpc::ClientContext::FromCallbackServerContext(caller)),
        call(MakeCallContext(caller, kTextPatience)) {
    context->set_deadline(ToSystemTime(call->deadline()));
  }

  absl::Status ForCaller(const grpc::Status& status) const {
    return ExplainDeadline(FromTier(status, "language", Stage::kTokenize), *call, {kTextPatience, ""});
  }

  const std::shared_ptr<Admission::Memory> memory;
  const std::unique_ptr<grpc::ClientContext> context;
  const std::shared_ptr<const CallContext> call;
  Request request;
  Response response;
};

// Asks the tier by `send`, a call of its asynchronous stub, and replies with the message, or the error, that `answer`
// makes of what it says. The caller's own cancellation and deadline, and kTextPatience, end the call. `memory` is what
// the request takes; what the tier says is added, and all of it is released when the reply has left. Errors: those of
// FromTier and Admission::Reserve.
template <typename Request, typename Response, typename Send, typename Answer>
grpc::ServerUnaryReactor* AskTokenizer(grpc::CallbackServerContext& caller, std::shared_ptr<Admission::Memory> memory,
                                       Request request, grpc::ByteBuffer* reply, Send send, Answer answer) {
  auto* reactor = new UnaryReply(caller, memory);
  auto* call = new TextCall<Request, Response>(caller, std::move(memory));
  call->request = std::move(request);
  send(call->context.get(), &call->request, &call->response,
       [call, reactor, reply, answer = std::move(answer)](const grpc::Status& status) {
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
