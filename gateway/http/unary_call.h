// One unary RPC of the gateway for one HTTP request.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>

#include "gateway/http/handed_on.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_reply.h"

namespace diptych::gateway {

// Bytes that one byte of a response takes as JSON: a number, or a character that is escaped, becomes up to six.
inline constexpr int64_t kJsonBytes = 8;

template <typename Request, typename Response>
struct UnaryCall {
  grpc::ClientContext context;
  Request request;
  Response response;
};

// Sends `message` by `send`, a call of the gateway's asynchronous stub, and replies with what `answer` makes of status
// and response. `handed_on` goes with it. Ends the call when the caller is gone.
template <typename Response, typename Request, typename Send, typename Answer>
void CallGateway(Request message, const HandedOn& handed_on, std::shared_ptr<HttpExchange> exchange, Send send,
                 Answer answer) {
  auto call = std::make_shared<UnaryCall<Request, Response>>();
  call->request = std::move(message);
  handed_on.AddTo(call->context);
  exchange->OnGone([weak = std::weak_ptr(call)] {
    if (const auto running = weak.lock()) running->context.TryCancel();
  });
  send(&call->context, &call->request, &call->response,
       [call, exchange = std::move(exchange), answer = std::move(answer)](const grpc::Status& status) {
         const absl::Status kept = exchange->Keep(kJsonBytes * static_cast<int64_t>(call->response.ByteSizeLong()));
         if (!kept.ok()) return exchange->Reply(ErrorReply(kept));
         HttpReply reply = answer(status, call->response);
         reply.is_logged = true;
         exchange->Reply(std::move(reply));
       });
}

}  // namespace diptych::gateway
