#include "gateway/kserve/infer_call.h"

#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/call_timer.h"
#include "common/grpc/client_reactor.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/raw_service.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/requests/question_limits.h"
#include "common/status.h"
#include "common/tracing/trace_context.h"
#include "gateway/kserve/infer_names.h"
#include "gateway/kserve/infer_outputs.h"
#include "gateway/kserve/infer_request.h"

namespace diptych::gateway {
namespace {

// Of a stream: between two requests, and for one response.
constexpr std::chrono::minutes kLongestPause(5);
constexpr std::chrono::seconds kLongestWrite(10);

// The context of a call to the gateway's own service, with the caller's deadline, key and trace. A key with bytes that
// gRPC does not send is left out: the service then says that there is none.
std::unique_ptr<grpc::ClientContext> InnerContext(const grpc::CallbackServerContext& caller) {
  auto context = grpc::ClientContext::FromCallbackServerContext(caller);
  SendTraceContext(*context, TraceContextOf(caller));
  const auto [begin, end] = caller.client_metadata().equal_range("authorization");
  if (begin == end || std::next(begin) != end) return context;
  AddMetadata(*context, "authorization", std::string(begin->second.data(), begin->second.size()));
  return context;
}

absl::StatusOr<InferRequest> Read(const grpc::ByteBuffer& bytes, std::string* id = nullptr) {
  inference::ModelInferRequest message;
  DIPTYCH_RETURN_IF_ERROR(TakeRequest(bytes, message));
  if (id != nullptr) *id = message.id();
  return ReadInferRequest(std::move(message));
}

// The line of a request that becomes no question, which would have its own.
void LogUnread(const grpc::CallbackServerContext& context, const absl::Status& status) {
  LogEnded({.method = "model_infer", .request_id = RequestIdOf(context), .status = status});
}

// Says in a stream that a request failed.
inference::ModelStreamInferResponse FailureOf(const absl::Status& status, const std::string& id) {
  inference::ModelStreamInferResponse response;
  const std::string reason = ReasonOf(status);
  response.set_error_message(absl::StrCat(reason, reason.empty() ? "" : ": ", std::string(status.message())));
  response.mutable_infer_response()->set_id(id.size() <= kMaxRequestIdBytes ? id : "");
  (*response.mutable_infer_response()->mutable_parameters())["triton_final_response"].set_bool_param(true);
  return response;
}

class InferCall final : public grpc::ServerUnaryReactor {
 public:
  InferCall(v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context, const grpc::ByteBuffer& bytes,
            grpc::ByteBuffer* response)
      : context_(context), response_(response), inner_(InnerContext(*context)) {
    auto read = Read(bytes);
    if (!read.ok()) LogUnread(*context, read.status());
    read.ok() ? Ask(gateway, *std::move(read)) : End(ToGrpcStatus(read.status()));
  }

 private:
  // Once the call begins gRPC has the question as bytes: it is not kept besides.
  void Ask(v1::GatewayService::Stub* gateway, InferRequest request) {
    request_ = std::move(request);
    v1::AskRequest ask;
    *ask.mutable_question() = std::exchange(request_.question, {});
    gateway->async()->Ask(inner_.get(), &ask, &answer_, [this](const grpc::Status& status) { OnAnswer(status); });
  }
  void OnAnswer(const grpc::Status& status) {
    if (!status.ok()) return End(ToGrpcStatus(InInputNames(FromGrpcStatus(status), request_.names)));
    *response_ = SerializeMessage(ToInferResponse(request_, answer_.answer()));
    End(status);
  }
  void End(const grpc::Status& status) {
    timer_.emplace(*context_, SteadyClock::now() + kLastWrites);
    Finish(status);
  }
  void OnCancel() override {}  // reaches the inner call by its context
  void OnDone() override { delete this; }

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const std::unique_ptr<grpc::ClientContext> inner_;
  InferRequest request_;  // but for its question
  v1::AskResponse answer_;
  std::optional<CallTimer> timer_;  // from the end of the inner call on, which has its own
};

// Callbacks come strictly one after the other: a request is read when the one before is answered, and the inner stream
// goes on when the last response is written.
class StreamedInferCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  StreamedInferCall(v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context,
                    std::function<InferCaller()> identify, std::shared_ptr<void> call)
      : gateway_(gateway), context_(context), identify_(std::move(identify)), call_(std::move(call)) {
    ReadNext();
  }

 private:
  // One request on its way through AskStream. Destroyed by its call after OnDone.
  class Inner final : public ClientReactor<grpc::ClientReadReactor<v1::AskStreamResponse>> {
   public:
    Inner(StreamedInferCall* call, v1::Question question) : call_(call), context_(InnerContext(*call->context_)) {
      *request_.mutable_question() = std::move(question);
      call->gateway_->async()->AskStream(context_.get(), &request_, this);
    }
    // As in InferCall, the question is not kept.
    void Start() {
      AddMultipleHolds(2);  // until the end of Start, and until the last read: OnDone never comes while a response is
                            // being written
      StartRead(&event_);
      StartCall();
      v1::AskStreamRequest().Swap(&request_);
      RemoveHold();
    }
    void Next() { StartRead(&event_); }
    void Stop() {
      context_->TryCancel();
      RemoveHold();
    }

   private:
    void OnReadDone(bool ok) override { ok ? call_->OnEvent(std::move(event_)) : RemoveHold(); }
    void OnDone(const grpc::Status& status) override { call_->OnInnerDone(status); }

    StreamedInferCall* const call_;
    const std::unique_ptr<grpc::ClientContext> context_;
    v1::AskStreamRequest request_;
    v1::AskStreamResponse event_;
  };

  // gRPC does not tell a pause from a message that is held back, of which it keeps what has come.
  void ReadNext() {
    InferCaller caller = identify_();
    if (!caller.status.ok()) {
      LogUnread(*context_, caller.status);
      return End(ToGrpcStatus(caller.status));
    }
    place_ = std::move(caller.place);
    Limit(caller.patience < kLongPatience ? caller.patience : kLongestPause);
    StartRead(&request_bytes_);
  }

  void End(const grpc::Status& status) {
    Limit(kLastWrites);
    Finish(status);
  }

  // The call is cancelled unless its caller does within `patience` what is waited for now.
  void Limit(SteadyDuration patience) { timer_.emplace(*context_, SteadyClock::now() + patience); }

  void OnReadDone(bool ok) override {
    timer_.reset();
    place_.reset();
    if (!ok) return End(grpc::Status::OK);
    std::string id;
    auto read = Read(request_bytes_, &id);
    if (!read.ok()) {
      LogUnread(*context_, read.status());
      return Write(FailureOf(read.status(), id));
    }
    request_ = *std::move(read);
    text_begun_ = false;
    generated_ = {};
    inner_ = std::make_unique<Inner>(this, std::exchange(request_.question, {}));
    inner_->Start();
  }

  void OnEvent(v1::AskStreamResponse event) {
    if (event.has_started()) return inner_->Next();
    inference::ModelStreamInferResponse response;
    *response.mutable_infer_response() = event.has_finished()
                                             ? ToFinalResponse(request_, event.finished(), !text_begun_, generated_)
                                             : ToInferResponse(request_, event.delta(), !text_begun_, generated_);
    text_begun_ = true;
    Write(response);
  }

  void OnInnerDone(const grpc::Status& status) {
    inner_.reset();
    if (gone_) return End(grpc::Status::CANCELLED);
    if (status.ok()) return ReadNext();
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) return End(status);
    Write(FailureOf(InInputNames(FromGrpcStatus(status), request_.names), request_.id));
  }

  void Write(const inference::ModelStreamInferResponse& response) {
    response_bytes_ = SerializeMessage(response);
    Limit(kLongestWrite);
    StartWrite(&response_bytes_);
  }

  void OnWriteDone(bool ok) override {
    gone_ = !ok;
    timer_.reset();
    if (inner_ != nullptr) return ok ? inner_->Next() : inner_->Stop();
    ok ? ReadNext() : End(grpc::Status::CANCELLED);
  }

  void OnCancel() override {}  // reaches the inner call by its context; reads and writes then fail
  void OnDone() override { delete this; }

  v1::GatewayService::Stub* const gateway_;
  grpc::CallbackServerContext* const context_;
  const std::function<InferCaller()> identify_;
  const std::shared_ptr<void> call_;
  std::shared_ptr<void> place_;  // of the request that is read
  grpc::ByteBuffer request_bytes_;
  grpc::ByteBuffer response_bytes_;
  InferRequest request_;          // the one being answered, but for its question
  std::unique_ptr<Inner> inner_;  // null between requests
  bool text_begun_ = false;
  GeneratedText generated_;         // of this request
  bool gone_ = false;               // the caller takes no more
  std::optional<CallTimer> timer_;  // while the caller is waited for
};

}  // namespace

grpc::ServerUnaryReactor* StartModelInfer(v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  return new InferCall(gateway, context, request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartModelStreamInfer(
    v1::GatewayService::Stub* gateway, grpc::CallbackServerContext* context, std::function<InferCaller()> identify,
    std::shared_ptr<void> call) {
  return new StreamedInferCall(gateway, context, std::move(identify), std::move(call));
}

}  // namespace diptych::gateway
