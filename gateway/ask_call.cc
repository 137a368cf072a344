#include "gateway/ask_call.h"

#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/wire.h"
#include "common/logging/request_log.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "gateway/old_turns.h"
#include "gateway/passed_deadline.h"
#include "gateway/request_id.h"

namespace diptych::gateway {

AskCall::AskCall(const AskEnvironment& environment, grpc::CallbackServerContext* context, std::string_view method)
    : AskCall(environment, context, method, MakeCallContext(*context, environment.request_timeout)) {}

AskCall::AskCall(const AskEnvironment& environment, grpc::CallbackServerContext* context, std::string_view method,
                 std::shared_ptr<const CallContext> call)
    : LanguageStream(environment.language, environment.retries, context, call->deadline()),
      environment_(environment),
      context_(context),
      call_(std::move(call)),
      arrival_(SteadyClock::now()),
      timer_(*context, deadline() + kLastWrites),
      span_(environment.tracer->BeginCall(*context, method, arrival_)),
      clock_(arrival_),
      admitted_(*environment.admission, deadline(), environment.admission->shared_places().Find(PlaceOf(*context))) {}

absl::Status AskCall::Read(absl::StatusOr<Caller> caller, const grpc::ByteBuffer& bytes,
                           google::protobuf::Message& request) {
  return admitted_.Read(std::move(caller), bytes, request);
}

void AskCall::Begin(v1::Question question) {
  if (question.request_id().empty()) question.set_request_id(NewRequestId());
  request_id_ = question.request_id().substr(0, kMaxRequestIdBytes);  // not checked yet: for the log alone
  turns_dropped_ = LeaveOutOldTurns(question, environment_.admission->limits());
  admitted_.Enter(std::move(question), [this](absl::StatusOr<v1::Question> entered) {
    for (const auto& [name, begin, end] : admitted_.waits()) span_.AddPart(name, begin, end - begin);
    if (!entered.ok()) return OnEnd(entered.status());
    request_id_ = entered->request_id();  // checked by now
    AddTrailingMetadata(*context_, "request-id", request_id_);
    v1::GenerateRequest request;
    *request.mutable_question() = *std::move(entered);
    request.set_turns_dropped(turns_dropped_);
    request.set_cache_salt(admitted_.cache_salt());
    Asker asker{.key_name = std::string(admitted_.caller_name()), .span = &span_};
    if (admitted_.waits_for_room()) asker.on_full = [this] { admitted_.SetRefused(true); };
    Start(std::move(request), std::move(asker));
  });
}

void AskCall::Observe(const v1::GenerateResponse& message) {
  if (message.has_started()) {
    admitted_.SetRefused(false);
    const v1::ContextBudget& budget = message.started().context_budget();
    prompt_tokens_ = int64_t{budget.image_tokens()} + budget.text_tokens() + budget.history_tokens();
  }
  if (!message.has_delta()) return;
  generated_tokens_ += message.delta().token_ids_size();
  const bool keeps = message.delta().logprobs_size() > 0;  // in case that another replica has to go on
  if (keeps && !admitted_.Grow(static_cast<int64_t>(message.delta().SpaceUsedLong())).ok()) KeepNothing();
  environment_.metrics->answers.TokensArrived(clock_.OnDelta(message.delta(), SteadyClock::now()));
}

absl::Status AskCall::ForCaller(const absl::Status& status) const {
  return ExplainDeadline(status, *call_, {environment_.request_timeout, kRequestTimeoutFlag});
}

absl::Status AskCall::WithTokensEmitted(const absl::Status& status) const {
  if (!absl::IsUnavailable(status) || generated_tokens_ == 0) return status;
  return WithDetail(status, detail::kTokensEmitted, absl::StrCat(generated_tokens_));
}

void AskCall::Release(const v1::Answer* answer) {
  Forget();
  admitted_.Charge(answer == nullptr ? prompt_tokens_ + generated_tokens_ : answer->usage().total_tokens());
  admitted_.Release(answer == nullptr ? 0 : static_cast<int64_t>(answer->ByteSizeLong()));
}

void AskCall::Ended(const absl::Status& status, const v1::Answer* answer) {
  const SteadyDuration took = SteadyClock::now() - arrival_;
  Release(answer);
  environment_.metrics->answers.Ended(status, answer, took, RecordedTraceOf(span_));
  environment_.metrics->repeats.Add(repeats());
  EndSpan(status, answer);
  LogEnded({.method = "ask",
            .request_id = request_id_,
            .status = status,
            .duration = took,
            .key = admitted_.caller_name(),
            .prompt_tokens = prompt_tokens_,
            .generated_tokens = generated_tokens_,
            .first_token = clock_.time_to_first_token(),
            .replica = replica(),
            .resumed = resumed(),
            .trace_id = TraceIdOf(span_.context())});
}

void AskCall::EndSpan(const absl::Status& status, const v1::Answer* answer) {
  SetRequest(span_, request_id_, admitted_.caller_name());
  SetTokens(span_, prompt_tokens_, generated_tokens_);
  if (answer != nullptr) SetAnswer(span_, *answer);
  if (const auto first = clock_.time_to_first_token()) span_.AddEvent(kFirstToken, arrival_ + *first);
  span_.End(status);
}

void AskCall::Complete(v1::Answer& answer) const {
  answer.set_request_id(request_id_);
  clock_.Join(*answer.mutable_timings(), asked_at(), SteadyClock::now());
}

namespace {

class UnaryAsk final : public grpc::ServerUnaryReactor, private AskCall {
 public:
  UnaryAsk(const AskEnvironment& environment, absl::StatusOr<Caller> caller, grpc::CallbackServerContext* context,
           const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response)
      : AskCall(environment, context, "diptych.v1.GatewayService/Ask"), response_(response) {
    v1::AskRequest request;
    const absl::Status status = Read(std::move(caller), bytes, request);
    status.ok() ? Begin(std::move(*request.mutable_question())) : OnEnd(status);
  }

 private:
  void OnMessage(v1::GenerateResponse message) override {
    Observe(message);
    if (message.has_finished()) *answer_.mutable_answer() = std::move(*message.mutable_finished());
    Next();
  }

  void OnEnd(absl::Status status) override {
    if (status.ok()) {
      Complete(*answer_.mutable_answer());
      *response_ = SerializeMessage(answer_);
    }
    Ended(status, status.ok() ? &answer_.answer() : nullptr);
    Finish(ToGrpcStatus(ForCaller(status)));
  }

  void OnCancel() override { Abandon(); }
  void OnDone() override { delete this; }

  grpc::ByteBuffer* const response_;
  v1::AskResponse answer_;
};

class StreamedAsk final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, private AskCall {
 public:
  StreamedAsk(const AskEnvironment& environment, absl::StatusOr<Caller> caller, grpc::CallbackServerContext* context,
              const grpc::ByteBuffer& bytes)
      : AskCall(environment, context, "diptych.v1.GatewayService/AskStream") {
    v1::AskStreamRequest request;
    const absl::Status status = Read(std::move(caller), bytes, request);
    status.ok() ? Begin(std::move(*request.mutable_question())) : OnEnd(status);
  }

 private:
  // Messages are read from the tier a little ahead of what the caller takes, so that the tier's end is seen, and the
  // place released, even if the caller reads nothing. Beyond that a slow caller slows the tier down.
  void OnMessage(v1::GenerateResponse message) override {
    Observe(message);
    v1::AskStreamResponse event = EventOf(std::move(message));
    grpc::ByteBuffer bytes = SerializeMessage(event);
    if (event.has_finished()) answer_ = std::move(*event.mutable_finished());
    if (Send(std::move(bytes))) Next();
  }

  v1::AskStreamResponse EventOf(v1::GenerateResponse message) {
    v1::AskStreamResponse event;
    if (message.has_started()) {
      *event.mutable_started() = std::move(*message.mutable_started());
      event.mutable_started()->set_request_id(request_id());
    } else if (message.has_delta()) {
      *event.mutable_delta() = std::move(*message.mutable_delta());
    } else {
      *event.mutable_finished() = std::move(*message.mutable_finished());
      Complete(*event.mutable_finished());
      Release(&event.finished());
    }
    return event;
  }

  // True if another message may be read now; else OnWriteDone goes on.
  bool Send(grpc::ByteBuffer bytes) {
    const grpc::ByteBuffer* first = nullptr;
    bool next = false;
    {
      MutexLock lock(mutex_);
      ahead_bytes_ += bytes.Length();
      unsent_.push_back(std::move(bytes));
      if (!std::exchange(writing_, true)) first = &unsent_.front();
      next = ahead_bytes_ <= kMaxAheadBytes;
      paused_ = !next;
    }
    if (first != nullptr) StartWrite(first);
    return next;
  }

  void OnWriteDone(bool ok) override {
    const grpc::ByteBuffer* following = nullptr;
    bool resume = false, finish = false;
    absl::Status told;
    {
      MutexLock lock(mutex_);
      ahead_bytes_ -= unsent_.front().Length();
      unsent_.pop_front();
      if (!ok) unsent_.clear();  // the tier's call is cancelled together with the caller's
      writing_ = !unsent_.empty();
      if (writing_) following = &unsent_.front();
      finish = !writing_ && ended_;
      if (finish) told = status_;
      resume = paused_ && !ended_ && (!ok || ahead_bytes_ <= kMaxAheadBytes);
      if (resume) paused_ = false;
    }
    if (following != nullptr) StartWrite(following);
    if (finish) return Finish(ToGrpcStatus(told));
    if (resume) ok ? Next() : Stop();
  }

  void OnEnd(absl::Status status) override {
    Ended(status, status.ok() ? &answer_ : nullptr);  // an OK end comes after the final message
    const absl::Status told = ForCaller(WithTokensEmitted(status));
    {
      MutexLock lock(mutex_);
      ended_ = true;
      status_ = told;
      if (writing_) return;  // the last OnWriteDone finishes
    }
    Finish(ToGrpcStatus(told));
  }

  void OnCancel() override { Abandon(); }
  void OnDone() override { delete this; }

  static constexpr size_t kMaxAheadBytes = 64 << 10;

  v1::Answer answer_;  // once it is whole
  Mutex mutex_;
  std::deque<grpc::ByteBuffer> unsent_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  size_t ahead_bytes_ ABSL_GUARDED_BY(mutex_) = 0;               // of unsent_
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;  // no message is read until some have left
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerUnaryReactor* StartAsk(const AskEnvironment& environment, absl::StatusOr<Caller> caller,
                                   grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                   grpc::ByteBuffer* response) {
  return new UnaryAsk(environment, std::move(caller), context, request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartAskStream(const AskEnvironment& environment,
                                                           absl::StatusOr<Caller> caller,
                                                           grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer& request) {
  return new StreamedAsk(environment, std::move(caller), context, request);
}

}  // namespace diptych::gateway
