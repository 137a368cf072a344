#include "gateway/tiers/language_stream.h"

#include <algorithm>
#include <random>
#include <utility>

#include "common/grpc/call_context.h"
#include "common/grpc/client_reactor.h"
#include "common/grpc/end_of_call.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/message_checksum.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/grpc/wire.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "common/tracing/request_span.h"
#include "gateway/tiers/request_affinity.h"
#include "gateway/tiers/tier_claims.h"

namespace diptych::gateway {
namespace {

// Of a begun answer that finds no room: a quarter of a minute in all.
constexpr SteadyDuration kFirstPause = std::chrono::milliseconds(50);
constexpr SteadyDuration kLongestPause = std::chrono::seconds(1);
// Of one that has not begun: few ask at a time, since the gate lets no more in.
constexpr SteadyDuration kLongestPauseAtGate = std::chrono::milliseconds(200);
constexpr int kMostWaits = 20;
// Of an attempt that bring no token: text that was held back, scores of the prompt.
constexpr int kMostDeltasWithoutToken = 16;

absl::Status ProtocolError(std::string_view message) {
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol, message);
}

// Ids are given back as they came, or left out.
bool IsOfAnother(const std::string& said, const std::string& asked) {
  return !said.empty() && !asked.empty() && said != asked;
}

// A replica without a time to retry will never have room for the question (KV_FULL).
bool WillHaveRoom(const grpc::Status& status) {
  return RetryAfterOf(FromGrpcStatus(status)).has_value();
}

absl::Status BrokenOff() {
  return TierUnavailable("the language tier broke off in the middle of the answer");
}

uint64_t NewSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Beams change their past up to the end, and of several answers one is chosen there.
bool ComesInOnePiece(const v1::GenerationOptions& options) {
  return options.num_beams() > 1 || (options.best_of() > 1 && options.temperature() > 0);
}

}  // namespace

// One Generate stream. Deleted by its owner after OnDone.
class LanguageStream::Attempt final : public ClientReactor<grpc::ClientReadReactor<v1::GenerateResponse>> {
 public:
  explicit Attempt(LanguageStream* call)
      : call_(call),
        stub_(call->replicas_->Pick(call->affinity_)),
        context_(grpc::ClientContext::FromCallbackServerContext(*call->caller_)),
        span_(call->asker_.span->Child("diptych.v1.LanguageService/Generate", SpanKind::kClient, call->asked_at_)) {
    context_->set_deadline(call->deadline_);
    SendKeyName(*context_, call->asker_.key_name);
    SendRequestId(*context_, call->request_.question().request_id());
    SendChecksum(*context_, call->request_);
    SendTraceContext(*context_, span_.context());
    stub_->async()->Generate(context_.get(), &call->request_, this);
  }

  void Start() {
    AddHold();  // until the last read, so that OnDone never comes while a message is being shown
    StartRead(&message_);
    StartCall();
  }
  void Next() { StartRead(&message_); }
  // `finished` has come.
  void ExpectEnd() { end_.Expect(context_); }
  std::string peer() const { return context_->peer(); }
  bool stopped() const { return stopped_; }
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
  void OnDone(const grpc::Status& status) override {
    EndAttempt(span_, call_->attempts_, peer(), FromGrpcStatus(status));
    stub_ = {};
    call_->OnAttemptDone(status);
  }

  LanguageStream* const call_;
  PickedStub<v1::LanguageService> stub_;  // until the call ends
  const std::shared_ptr<grpc::ClientContext> context_;
  EndOfCall end_;
  Span span_;
  v1::GenerateResponse message_;
  bool stopped_ = false;
};

LanguageStream::LanguageStream(ReplicaStubs<v1::LanguageService>* replicas, RetryBudget* budget,
                               grpc::CallbackServerContext* caller, SteadyTime deadline)
    : replicas_(replicas), budget_(budget), caller_(caller), deadline_(deadline) {}

LanguageStream::~LanguageStream() = default;

void LanguageStream::Start(v1::GenerateRequest request, Asker asker) {
  request_ = std::move(request);
  asker_ = std::move(asker);
  v1::GenerationOptions& options = *request_.mutable_question()->mutable_generation();
  if (options.temperature() > 0 && !options.has_seed()) options.set_seed(NewSeed());
  if (replicas_->channels()->known() > 1) affinity_ = AffinityOf(request_);
  budget_->OnRequest(SteadyClock::now());
  StartAttempt();
}

void LanguageStream::StartAttempt() {
  ++attempts_;
  if (!ComesInOnePiece(request_.question().generation())) *request_.mutable_begun_token_ids() = tokens_;
  asked_at_ = SteadyClock::now();
  started_ = delta_seen_ = finished_ = false;
  deltas_without_token_ = 0;
  attempt_ = std::make_unique<Attempt>(this);
  attempt_->Start();
}

void LanguageStream::Next() {
  attempt_->Next();
}

void LanguageStream::Stop() {
  attempt_->Stop();
}

void LanguageStream::Forget() {
  KeepNothing();
  request_.Clear();
  logprobs_.Clear();
}

void LanguageStream::KeepNothing() {
  keeps_ = false;
}

void LanguageStream::OnAttemptMessage(v1::GenerateResponse message) {
  if (!started_) replica_ = attempt_->peer();
  broken_ = CheckOrder(message);
  if (broken_.ok()) broken_ = CheckClaims(message);
  if (broken_.ok()) broken_ = CheckId(message);
  if (broken_.ok() && message.has_started()) broken_ = Resume(message.started());
  if (broken_.ok() && message.has_delta()) broken_ = PassOver(*message.mutable_delta());
  if (broken_.ok() && message.has_finished() && next_token_ < tokens_.size()) broken_ = BrokenOff();
  if (!broken_.ok()) return Stop();
  if (message.has_started() && std::exchange(started_shown_, true)) return Next();  // known from an earlier attempt
  if (message.has_delta() && attempts_ > 1 && message.delta().ByteSizeLong() == 0) return Next();  // so is all of this
  if (message.has_delta()) Keep(message.delta());
  if (message.has_finished()) MakeWhole(*message.mutable_finished());
  if (message.has_finished()) attempt_->ExpectEnd();
  OnMessage(std::move(message));
}

absl::Status LanguageStream::CheckOrder(const v1::GenerateResponse& message) {
  const bool in_order =
      !finished_ && message.has_started() == !started_ && message.event_case() != v1::GenerateResponse::EVENT_NOT_SET;
  if (!in_order) return ProtocolError("the language tier sent messages out of order");
  started_ = true;
  delta_seen_ |= message.has_delta();
  if (message.has_delta() && message.delta().token_ids_size() == 0) ++deltas_without_token_;
  finished_ |= message.has_finished();
  return absl::OkStatus();
}

absl::Status LanguageStream::CheckId(const v1::GenerateResponse& message) const {
  const std::string& said = message.has_finished() ? message.finished().request_id() : message.started().request_id();
  if (!IsOfAnother(said, request_.question().request_id())) return absl::OkStatus();
  return ProtocolError("the language tier answered another question");
}

// Beams begin again, and so does a replica of a release that knows no begun tokens.
absl::Status LanguageStream::Resume(const v1::Started& started) {
  const int generated = started.context_budget().generated();
  const bool goes_on = generated == tokens_.size();
  if (!tokens_.empty()) ++resumed_;
  next_token_ = generated;
  known_text_ = goes_on ? 0 : text_bytes_;
  unknown_logprobs_ = goes_on ? logprobs_.size() : 0;
  return goes_on || generated == 0 ? absl::OkStatus() : BrokenOff();
}

absl::Status LanguageStream::PassOver(v1::Delta& delta) {
  const int known = std::min(tokens_.size() - next_token_, delta.token_ids_size());
  const auto said_before = tokens_.begin() + next_token_;
  if (!std::equal(said_before, said_before + known, delta.token_ids().begin())) return BrokenOff();
  next_token_ += known;
  const size_t text = std::min(known_text_, delta.text().size());
  known_text_ -= text;
  delta.mutable_text()->erase(0, text);
  delta.mutable_token_ids()->erase(delta.token_ids().begin(), delta.token_ids().begin() + known);
  delta.mutable_logprobs()->DeleteSubrange(0, std::min(known, delta.logprobs_size()));
  if (prompt_scored_) delta.clear_prompt_logprobs();
  return CheckLength(delta);
}

absl::Status LanguageStream::CheckLength(const v1::Delta& delta) const {
  const v1::GenerationOptions& options = request_.question().generation();
  const int most = options.has_max_new_tokens() ? options.max_new_tokens() : kMaxWireNumbers;
  const bool can_go_on = came_ + delta.token_ids_size() <= std::min<int64_t>(most, kMaxWireNumbers);
  if (!can_go_on) return ProtocolError("the language tier sent more tokens than the answer may have");
  if (deltas_without_token_ <= kMostDeltasWithoutToken) return absl::OkStatus();
  return ProtocolError("the language tier sent messages without tokens, again and again");
}

void LanguageStream::Keep(const v1::Delta& delta) {
  prompt_scored_ |= delta.prompt_logprobs_size() > 0;
  if (delta.token_ids_size() > 0) {
    patience_.OnProgress();
    full_ = 0;
  }
  came_ += delta.token_ids_size();
  if (!keeps_) return;
  next_token_ += delta.token_ids_size();
  text_bytes_ += delta.text().size();
  tokens_.MergeFrom(delta.token_ids());
  logprobs_.MergeFrom(delta.logprobs());
}

void LanguageStream::MakeWhole(v1::Answer& answer) {
  answer.mutable_timings()->set_resumed(resumed_);
  if (unknown_logprobs_ == 0) return;
  logprobs_.DeleteSubrange(unknown_logprobs_, logprobs_.size() - unknown_logprobs_);
  logprobs_.MergeFrom(answer.logprobs());
  answer.mutable_logprobs()->Swap(&logprobs_);
}

Stage LanguageStream::StageNow() const {
  if (delta_seen_) return Stage::kDecode;
  return started_ ? Stage::kPrefill : Stage::kLanguageQueue;
}

// A complete answer is valid, however the connection ends.
absl::Status LanguageStream::Outcome(const grpc::Status& status) const {
  if (!broken_.ok()) return broken_;
  if (finished_) return absl::OkStatus();
  if (status.ok()) return ProtocolError("the language tier ended without an answer");
  if (caller_->IsCancelled()) return CallerLeft();
  const Retry retry = RetryOf(status);
  const bool begun = !tokens_.empty() || (started_ && retry == Retry::kAnotherReplica);
  if (begun && retry != Retry::kNo) return BrokenOff();
  return FromTier(status, "language", StageNow());
}

std::optional<SteadyDuration> LanguageStream::PauseBeforeRepeat(const grpc::Status& status) {
  const Retry retry = RetryOf(status);
  if (retry == Retry::kNo || !broken_.ok() || finished_ || !keeps_ || caller_->IsCancelled()) return std::nullopt;
  if (retry == Retry::kWhereThereIsRoom) return PauseForRoom(status);
  return PauseAfterLoss(patience_, *replicas_->channels(), *budget_, deadline_);
}

// One that is full may be one of several that are not. Of a begun answer there is more to lose, so it waits for room.
std::optional<SteadyDuration> LanguageStream::PauseForRoom(const grpc::Status& status) {
  ++full_;
  const bool begun = !tokens_.empty();
  if (!begun && asker_.on_full && WillHaveRoom(status)) return PauseAtGate();
  if (full_ >= (begun ? kMostWaits : kMaxTierAttempts)) return std::nullopt;
  const auto pause = begun ? std::min(kFirstPause * (1 << std::min(full_ - 1, 10)), kLongestPause) : SteadyDuration();
  const SteadyTime now = SteadyClock::now();
  if (now + pause >= deadline_ || !budget_->TryRepeat(now)) return std::nullopt;
  return pause;
}

// Not a repeat that multiplies load: its place at the gate is one that nobody else has.
std::optional<SteadyDuration> LanguageStream::PauseAtGate() {
  asker_.on_full();
  const SteadyDuration pause = std::min(kFirstPause * (1 << std::min(full_ - 1, 10)), kLongestPauseAtGate);
  return SteadyClock::now() + pause < deadline_ ? std::optional(pause) : std::nullopt;
}

void LanguageStream::OnAttemptDone(const grpc::Status& status) {
  replica_ = attempt_->peer();
  Report(status);
  const auto pause = PauseBeforeRepeat(status);
  if (!pause) return OnEnd(Outcome(status));
  if (*pause > SteadyDuration::zero()) return Wait(*pause);
  StartAttempt();  // destroys the attempt that calls this; nothing of it is touched afterwards
}

// One that breaks the protocol fails, too.
void LanguageStream::Report(const grpc::Status& status) {
  const bool is_broken = !broken_.ok() && ReasonOf(broken_) == reason::kTierProtocol;
  replicas_->OnEnd({.replica = replica_,
                    .status = is_broken ? grpc::Status(grpc::StatusCode::INTERNAL, "") : status,
                    .was_heard = started_,
                    .was_cancelled = attempt_->stopped() || caller_->IsCancelled(),
                    .asked = asked_at_});
}

void LanguageStream::Wait(SteadyDuration pause) {
  pause_.Set(SteadyClock::now() + pause,
             [this](bool) { caller_->IsCancelled() ? OnEnd(CallerLeft()) : StartAttempt(); });
}

}  // namespace diptych::gateway
