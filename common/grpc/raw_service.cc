#include "common/grpc/raw_service.h"

#include <grpcpp/alarm.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/grpc/call_context.h"
#include "common/grpc/call_timer.h"
#include "common/grpc/connection_acceptor.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/message_checksum.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/logging/request_log.h"
#include "common/mutex.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych {
namespace {

using Bytes = grpc::ByteBuffer;

constexpr SteadyDuration kForAMessage = std::chrono::milliseconds(50);

// "PlanContext" as "plan_context".
std::string SnakeCase(std::string_view name) {
  std::string words;
  for (const char c : name) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !words.empty()) words += '_';
    words += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  return words;
}

// A call of one request, which gRPC takes for one of a stream of them. The method's reactor comes when the request is
// there, and meets the gRPC that it expects: `Call`, whose operations become those of the stream.
class LateCall : public grpc::ServerBidiReactor<Bytes, Bytes> {
 public:
  LateCall(grpc::CallbackServerContext& context, std::shared_ptr<void> counted, std::string_view name)
      : context_(context), counted_(std::move(counted)), name_(name) {}

  template <typename Method>
  void Begin(RawService::Opened<Method> opened) {
    place_ = std::move(opened.place);
    line_ = opened.line;
    key_name_ = std::move(opened.key_name);
    if (!opened.reads) return EnterSoon();
    timer_.emplace(context_, SteadyClock::now() + opened.patience);
    StartRead(&request_);
  }

 protected:
  // Calls the method, whose reactor is returned.
  virtual grpc::internal::ServerReactor* Call() = 0;
  // Gives that reactor its call.
  virtual void Bind() = 0;
  virtual void OnMetadataSent(bool ok) = 0;

  grpc::CallbackServerContext& context() { return context_; }
  const Bytes& request() const { return request_; }
  // The method has ended the call so.
  void LogEnd(const grpc::Status& status) {
    if (line_ == RawService::Line::kAll || (line_ == RawService::Line::kFailed && !status.ok())) Log(status);
  }

 private:
  void OnSendInitialMetadataDone(bool ok) override { method() == nullptr ? Enter() : OnMetadataSent(ok); }
  void OnReadDone(bool ok) override {
    timer_.reset();
    if (!ok) {
      return Refuse(ToGrpcStatus(MakeError(absl::StatusCode::kInvalidArgument, reason::kMalformedRequest,
                                           "the call ended before its message")));
    }
    if (IsAsSent(context_, request_)) return Enter();
    // Without a reason: as for a call that reached no replica, the message may be sent again.
    Refuse({grpc::StatusCode::UNAVAILABLE, "the message is not what was sent"});
  }

  // Ends a call that has no method.
  void Refuse(const grpc::Status& status) {
    Log(context_.IsCancelled() ? grpc::Status::CANCELLED : status);
    Finish(status);
  }

  void Log(const grpc::Status& status) const {
    LogEnded({.method = SnakeCase(name_),
              .request_id = RequestIdOf(context_),
              .status = FromGrpcStatus(status),
              .duration = SteadyClock::now() - arrival_,
              .key = key_name_});
  }

  // A moment later: a small message that follows its headers is there by then, so that the stream ends and is not
  // reset. Proxies (HAProxy) turn a reset into CANCELLED, whatever status came before it. The method begins in a
  // callback of the stream's, as elsewhere: while one runs OnDone does not come, which would delete what the method's
  // end still needs.
  void EnterSoon() {
    pause_.Set(SteadyClock::now() + kForAMessage, [this](bool) { StartSendInitialMetadata(); });
  }

  void Enter() {
    place_.reset();
    grpc::internal::ServerReactor* method = nullptr;
    const absl::Status status = CatchExceptions("grpc", [&] {
      method = Call();
      return absl::OkStatus();
    });
    request_.Clear();
    if (!status.ok()) return Refuse(ToGrpcStatus(status));
    bool cancelled = false;
    {
      MutexLock lock(mutex_);
      method_ = method;
      cancelled = cancelled_;
    }
    Bind();
    if (cancelled) method->OnCancel();
  }

  void OnCancel() override {
    grpc::internal::ServerReactor* method = nullptr;
    {
      MutexLock lock(mutex_);
      cancelled_ = true;
      method = method_;
    }
    if (method != nullptr) method->OnCancel();
  }

  void OnDone() override {
    if (auto* called = method(); called != nullptr) called->OnDone();
    delete this;
  }

  // Null until the method is called.
  grpc::internal::ServerReactor* method() {
    MutexLock lock(mutex_);
    return method_;
  }

  grpc::CallbackServerContext& context_;
  const std::shared_ptr<void> counted_;  // among its connection's calls
  const std::string_view name_;          // of the method
  const SteadyTime arrival_ = SteadyClock::now();
  RawService::Line line_ = RawService::Line::kOfMethod;
  std::string key_name_;
  grpc::Alarm pause_;
  std::optional<CallTimer> timer_;  // until the request is there
  std::shared_ptr<void> place_;     // likewise
  Bytes request_;                   // until the method has read it
  Mutex mutex_;
  grpc::internal::ServerReactor* method_ ABSL_GUARDED_BY(mutex_) = nullptr;  // deletes itself in OnDone
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

class LateUnary final : public LateCall {
 public:
  LateUnary(grpc::CallbackServerContext& context, std::shared_ptr<void> counted, std::string_view name,
            RawService::Unary method)
      : LateCall(context, std::move(counted), name), method_(std::move(method)), call_(*this) {}

 private:
  class UnaryCall final : public grpc::ServerCallbackUnary {
   public:
    explicit UnaryCall(LateUnary& stream) : stream_(stream) {}
    void Bind(grpc::ServerUnaryReactor* reactor) { BindReactor(reactor); }

    void Finish(grpc::Status status) override {
      stream_.LogEnd(status);
      if (!status.ok()) return stream_.Finish(std::move(status));
      stream_.StartWriteAndFinish(&stream_.response_, grpc::WriteOptions(), std::move(status));
    }
    void SendInitialMetadata() override { stream_.StartSendInitialMetadata(); }

   private:
    grpc::internal::ServerReactor* reactor() override { return nullptr; }  // what follows, the stream does
    void CallOnDone() override {}

    LateUnary& stream_;
  };

  grpc::internal::ServerReactor* Call() override { return reactor_ = method_(&context(), &request(), &response_); }
  void Bind() override { call_.Bind(reactor_); }
  void OnMetadataSent(bool ok) override { reactor_->OnSendInitialMetadataDone(ok); }

  const RawService::Unary method_;
  UnaryCall call_;
  Bytes response_;
  grpc::ServerUnaryReactor* reactor_ = nullptr;
};

class LateServerStream final : public LateCall {
 public:
  LateServerStream(grpc::CallbackServerContext& context, std::shared_ptr<void> counted, std::string_view name,
                   RawService::ServerStream method)
      : LateCall(context, std::move(counted), name), method_(std::move(method)), call_(*this) {}

 private:
  class WriterCall final : public grpc::ServerCallbackWriter<Bytes> {
   public:
    explicit WriterCall(LateServerStream& stream) : stream_(stream) {}
    void Bind(grpc::ServerWriteReactor<Bytes>* reactor) { BindReactor(reactor); }

    void Finish(grpc::Status status) override { stream_.Finish(std::move(status)); }
    void SendInitialMetadata() override { stream_.StartSendInitialMetadata(); }
    void Write(const Bytes* message, grpc::WriteOptions options) override { stream_.StartWrite(message, options); }
    void WriteAndFinish(const Bytes* message, grpc::WriteOptions options, grpc::Status status) override {
      stream_.StartWriteAndFinish(message, options, std::move(status));
    }

   private:
    grpc::internal::ServerReactor* reactor() override { return nullptr; }
    void CallOnDone() override {}

    LateServerStream& stream_;
  };

  grpc::internal::ServerReactor* Call() override { return reactor_ = method_(&context(), &request()); }
  void Bind() override { call_.Bind(reactor_); }
  void OnMetadataSent(bool ok) override { reactor_->OnSendInitialMetadataDone(ok); }
  void OnWriteDone(bool ok) override { reactor_->OnWriteDone(ok); }

  const RawService::ServerStream method_;
  WriterCall call_;
  grpc::ServerWriteReactor<Bytes>* reactor_ = nullptr;
};

template <typename Late, typename Method>
RawService::BidiStream ReadLate(std::string_view name, RawService::Open<Method> open) {
  return [name = std::string(name), open = std::move(open)](grpc::CallbackServerContext* context,
                                                            std::shared_ptr<void> counted) {
    RawService::Opened<Method> opened = open(*context);
    auto* call = new Late(*context, std::move(counted), name, std::move(opened.method));
    call->Begin(std::move(opened));
    return call;
  };
}

template <typename Method>
RawService::Open<Method> OpenAlike(Method method, RawService::Line line, SteadyDuration patience) {
  return [method = std::move(method), line, patience](const grpc::CallbackServerContext&) {
    return RawService::Opened<Method>{.method = method, .patience = patience, .line = line};
  };
}

}  // namespace

RawService::RawService(std::string_view service) : service_(service), calls_(ResetConnection) {}

void RawService::AddUnary(std::string_view name, Open<Unary> open) {
  AddBidiStream(name, ReadLate<LateUnary, Unary>(name, std::move(open)));
}

void RawService::AddServerStream(std::string_view name, Open<ServerStream> open) {
  AddBidiStream(name, ReadLate<LateServerStream, ServerStream>(name, std::move(open)));
}

void RawService::AddUnary(std::string_view name, Unary method, Line line, SteadyDuration patience) {
  AddUnary(name, OpenAlike(std::move(method), line, patience));
}

void RawService::AddServerStream(std::string_view name, ServerStream method, SteadyDuration patience) {
  AddServerStream(name, OpenAlike(std::move(method), Line::kOfMethod, patience));
}

void RawService::AddBidiStream(std::string_view name, BidiStream method) {
  const int index = static_cast<int>(paths_.size());
  const std::string& path = paths_.emplace_back("/" + service_ + "/" + std::string(name));
  AddMethod(new grpc::internal::RpcServiceMethod(path.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
  auto counted = [this, method = std::move(method)](grpc::CallbackServerContext* context) {
    return method(context, calls_.Begin(context->peer(), MetadataBytes(*context)));
  };
  MarkMethodRawCallback(index, new grpc::internal::CallbackBidiHandler<Bytes, Bytes>(std::move(counted)));
}

}  // namespace diptych
