// One call for answers on its way through the gateway's own RPCs.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "gateway/http/answer_form.h"
#include "gateway/http/handed_on.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_request.h"

namespace diptych::gateway {

// Asks once for each choice, tells the answers as `form` has them, and ends `exchange` in any case: with the whole
// reply, with a stream of chunks, or with an error. A stream begins with the first text or the end: errors before have
// their HTTP status, later ones are an event of their own, the last. Cancels what runs when the caller leaves. Never
// waits. `gateway` leads to GatewayService. `handed_on` goes with the RPCs. So many choices run at a time as have
// images of `images_bytes_at_once` together, at least one: each RPC takes memory for its own.
void StartOpenAiCall(std::shared_ptr<grpc::ChannelInterface> gateway, OpenAiRequest request,
                     std::unique_ptr<AnswerForm> form, HandedOn handed_on, size_t images_bytes_at_once,
                     std::shared_ptr<HttpExchange> exchange);

}  // namespace diptych::gateway
