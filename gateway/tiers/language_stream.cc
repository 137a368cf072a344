#include "gateway/tiers/language_stream.h"

#include <utility>

#include "common/call_watch.h"
#include "common/status.h"
#include "common/tier_errors.h"

namespace diptych::gateway {
namespace {

absl::Status ProtocolError(std::string_view message) {
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, message);
}

}  // namespace

// One Generate stream. Deleted by its owner after OnDone.
class LanguageStream::Attempt final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  explicit Attempt(LanguageStream* call)
      : call_(call), context_(grpc::ClientContext::FromCallbackServerContext(*call->caller_)) {
    context_->set_deadline(ToSystemTime(call->deadline_));
    call->stub_->async()->Generate(context_.get(), &call->request_, this);
  }

  void Start() {
    AddHold();  // until the last read, so that OnDone never comes while a message is being shown
    StartRead(&message_);
    StartCall();
  }
  void Next() { StartRead(&message_); }
  void Stop() {
    stopped_ = true;
    context_->TryCancel();
    StartRead(&message_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    if (stopped_) return StartRead(&message_);
    call_->OnAttemptMessage(std::exchange(message_, {}));
  }
  void OnDone(const grpc::Status& status) override { call_->OnAttemptDone(status); }

  LanguageStream* const call_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::GenerateResponse message_;
  bool stopped_ = false;
};

LanguageStream::LanguageStream(v1::LanguageService::Stub* stub, grpc::CallbackServerContext* caller,
                               SteadyTime deadline, Repeatable repeatable)
    : stub_(stub), caller_(caller), deadline_(deadline), repeatable_(repeatable) {}

LanguageStream::~LanguageStream() = default;

void LanguageStream::Start(v1::GenerateRequest request) {
  request_ = std::move(request);
  StartAttempt();
}

void LanguageStream::StartAttempt() {
  ++attempts_;
  asked_at_ = SteadyClock::now();
  started_ = delta_seen_ = finished_ = false;
  attempt_ = std::make_unique<Attempt>(this);
  attempt_->Start();
}

void LanguageStream::Next() {
  attempt_->Next();
}

void LanguageStream::Stop() {
  attempt_->Stop();
}

void LanguageStream::OnAttemptMessage(v1::GenerateResponse message) {
  protocol_error_ = CheckOrder(message);
  if (!protocol_error_.ok()) return Stop();
  if (message.has_started() && std::exchange(started_shown_, true)) return Next();  // known from an earlier attempt
  OnMessage(std::move(message));
}

absl::Status LanguageStream::CheckOrder(const v1::GenerateResponse& message) {
  const bool in_order =
      !finished_ && message.has_started() == !started_ && message.event_case() != v1::GenerateResponse::EVENT_NOT_SET;
  if (!in_order) return ProtocolError("the language tier sent messages out of order");
  started_ = true;
  delta_seen_ |= message.has_delta();
  finished_ |= message.has_finished();
  return absl::OkStatus();
}

Stage LanguageStream::StageNow() const {
  if (delta_seen_) return Stage::kDecode;
  return started_ ? Stage::kPrefill : Stage::kLanguageQueue;
}

absl::Status LanguageStream::Outcome(const grpc::Status& status) const {
  if (!protocol_error_.ok()) return protocol_error_;
  if (status.ok()) return finished_ ? absl::OkStatus() : ProtocolError("the language tier ended without an answer");
  if (caller_->IsCancelled()) return CallerLeft();
  if (started_ && RetryOf(status) == Retry::kAnotherReplica) {
    return TierUnavailable("the language tier broke off in the middle of the answer");
  }
  return FromTier(status, "language", StageNow());
}

bool LanguageStream::MayRepeat(const grpc::Status& status) const {
  if (!protocol_error_.ok() || attempts_ >= kMaxTierAttempts || caller_->IsCancelled()) return false;
  if (repeatable_ == Repeatable::kUntilFirstDelta && (delta_seen_ || finished_)) return false;
  return RetryOf(status) == Retry::kAnotherReplica;
}

void LanguageStream::OnAttemptDone(const grpc::Status& status) {
  if (!MayRepeat(status)) return OnEnd(Outcome(status));
  StartAttempt();  // destroys the attempt that calls this; nothing of it is touched afterwards
}

}  // namespace diptych::gateway
