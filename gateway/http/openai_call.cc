#include "gateway/http/openai_call.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/grpc/client_reactor.h"
#include "common/grpc/grpc_status.h"
#include "common/mutex.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/http/json_members.h"
#include "gateway/http/openai_reply.h"
#include "gateway/http/shared_question.h"

namespace diptych::gateway {
namespace {

// Questions of one call that are asked at a time, at most.
constexpr int kMaxAtOnce = kMaxChoices;
// Memory of an answer's byte as JSON values and as text: scores, of which there are the most, up to 14.
constexpr int64_t kReplyBytes = 16;
constexpr char kAsk[] = "/diptych.v1.GatewayService/Ask";
constexpr char kAskStream[] = "/diptych.v1.GatewayService/AskStream";

// Answers to one prompt differ by their seed; without one the server draws.
v1::Question QuestionOf(const OpenAiRequest& request, int index) {
  v1::Question question = request.question;
  if (!request.prompts.empty()) {
    const CompletionPrompt& prompt = request.prompts[static_cast<size_t>(index / request.draws)];
    question.set_prompt(prompt.text);
    question.mutable_prompt_token_ids()->Add(prompt.ids.begin(), prompt.ids.end());
  }
  if (question.generation().has_seed()) {
    const auto draw = static_cast<uint64_t>(index % request.draws);
    question.mutable_generation()->set_seed(question.generation().seed() + draw);
  }
  return question;
}

// A message that callers see: text or its end. Tokens whose text is still held back have none.
bool IsShown(const v1::AskStreamResponse& message) {
  return message.has_finished() ||
         (message.has_delta() && !(message.delta().text().empty() && message.delta().logprobs().empty() &&
                                   message.delta().prompt_logprobs().empty()));
}

// Empties a repeated field, whose own Clear would keep the memory.
template <typename Field>
void Drop(Field& field) {
  Field().Swap(&field);
}

// Memory for this answer until all have come. It is scores that can take too much.
absl::Status Keep(HttpExchange& exchange, const v1::AskResponse& response) {
  const absl::Status kept = exchange.Keep(kReplyBytes * static_cast<int64_t>(response.ByteSizeLong()));
  if (!absl::IsOutOfRange(kept)) return kept;
  return Invalid("logprobs",
                 "the scores of all answers are too many for one reply: ask for fewer of them, for fewer prompts or "
                 "answers at a time, or for a stream");
}

// Of an RPC, which has logged it.
HttpReply LoggedError(const absl::Status& status) {
  HttpReply reply = ErrorReply(status);
  reply.is_logged = true;
  return reply;
}

// State of all choices of one call. Each of them holds it until it has ended.
class CallBase {
 public:
  CallBase(std::shared_ptr<grpc::ChannelInterface> gateway, std::unique_ptr<AnswerForm> form, FieldNames names,
           HandedOn handed_on, size_t images_bytes_at_once, std::shared_ptr<HttpExchange> exchange)
      : gateway_(std::move(gateway)),
        form_(std::move(form)),
        names_(std::move(names)),
        handed_on_(std::move(handed_on)),
        images_bytes_at_once_(images_bytes_at_once),
        exchange_(std::move(exchange)) {}

 protected:
  absl::Status Outcome(const grpc::Status& status) const { return InCallersNames(FromGrpcStatus(status), names_); }

  // The images go to the gateway's service as bytes that all choices share.
  void Take(OpenAiRequest request) {
    request_ = std::move(request);
    shared_.emplace(request_.question);
  }
  grpc::ByteBuffer RequestOf(int index) const { return shared_->RequestOf(QuestionOf(request_, index)); }
  // Questions that are asked at a time. Requires: Take.
  int AtOnce() const {
    const size_t fit = images_bytes_at_once_ / std::max<size_t>(shared_->images_bytes(), 1);
    return std::min(static_cast<int>(std::clamp<size_t>(fit, 1, kMaxAtOnce)), request_.Questions());
  }
  // Nothing more will be asked: comes before the caller learns of it.
  void GiveUpPlace() { handed_on_.place.reset(); }

  const std::shared_ptr<grpc::ChannelInterface> gateway_;
  const std::unique_ptr<AnswerForm> form_;
  const FieldNames names_;
  HandedOn handed_on_;
  const size_t images_bytes_at_once_;
  const std::shared_ptr<HttpExchange> exchange_;
  OpenAiRequest request_;
  std::optional<SharedQuestion> shared_;
};

class WholeCall final : public CallBase, public std::enable_shared_from_this<WholeCall> {
 public:
  using CallBase::CallBase;

  void Start(OpenAiRequest request) {
    Take(std::move(request));
    choices_ = std::vector<Choice>(static_cast<size_t>(request_.Questions()));
    exchange_->OnGone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->CancelAll();
    });
    const int at_once = AtOnce();
    {
      MutexLock lock(mutex_);
      running_ = next_ = at_once;
    }
    for (int i = 0; i < at_once; ++i) Ask(i);
  }

 private:
  struct Choice {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    v1::AskResponse response;
  };

  void Ask(int index) {
    Choice& choice = choices_[static_cast<size_t>(index)];
    choice.request = RequestOf(index);
    handed_on_.AddTo(choice.context);
    grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::AskResponse>(gateway_).UnaryCall(
        &choice.context, kAsk, {}, &choice.request, &choice.response,
        [self = shared_from_this(), index](const grpc::Status& status) {
          self->OnEnd(status.ok() ? Keep(*self->exchange_, self->choices_[static_cast<size_t>(index)].response)
                                  : self->Outcome(status));
        });
  }

  void OnEnd(const absl::Status& status) {
    bool failed_first = false, last = false;
    int next = 0;  // question that is asked in the place of the one that ended; 0: none
    absl::Status outcome;
    {
      MutexLock lock(mutex_);
      failed_first = !status.ok() && status_.ok();
      if (failed_first) status_ = status;
      if (status_.ok() && next_ < static_cast<int>(choices_.size())) {
        next = next_++;
      } else {
        last = --running_ == 0;
      }
      outcome = status_;
    }
    if (failed_first) CancelAll();
    if (next > 0) return Ask(next);
    if (!last) return;
    GiveUpPlace();
    if (!outcome.ok()) return exchange_->Reply(LoggedError(outcome));
    std::vector<v1::Answer> answers;
    for (Choice& choice : choices_) answers.push_back(std::move(*choice.response.mutable_answer()));
    form_->Start(answers.front().request_id(), answers.front().model());
    exchange_->Reply({.body = Dump(form_->Whole(answers))});
  }

  void CancelAll() {
    for (Choice& choice : choices_) choice.context.TryCancel();
  }

  std::vector<Choice> choices_;  // one for each question
  Mutex mutex_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int next_ ABSL_GUARDED_BY(mutex_) = 0;  // question
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

class StreamedCall final : public CallBase, public std::enable_shared_from_this<StreamedCall> {
 public:
  using CallBase::CallBase;

  void Start(OpenAiRequest request);

 private:
  class Choice;

  // Makes the next choice, which is to begin. Requires: there is one.
  Choice* AddNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // `done` follows the event of a message of choice `index`, or comes at once if the message has none.
  void OnMessage(int index, v1::AskStreamResponse message, std::function<void(bool)> done);
  // Begins the event stream, and in it choice `index`, whose first message has this delta. Until then a failure is a
  // reply with its own status.
  void BeginEvents(int index, const v1::Delta& delta) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeStarted(const v1::Started& started) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnEnd(Choice* choice, const absl::Status& status);
  // `done` follows the last of them; there is at least one.
  void Send(AnswerForm::Events events, std::function<void(bool)> done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CancelAll();

  Mutex mutex_;
  // In the order of questions, those that were begun; nullptr once ended.
  std::vector<Choice*> choices_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;  // the event stream
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<bool> shown_ ABSL_GUARDED_BY(mutex_);  // choices that the stream has begun with
  std::vector<v1::Answer> answers_ ABSL_GUARDED_BY(mutex_);
};

// Reads the next message when the event of the last one has left: a slow caller slows the model's stream down, and
// nothing piles up here. Deletes itself.
class StreamedCall::Choice final
    : public ClientReactor<grpc::ClientBidiReactor<grpc::ByteBuffer, v1::AskStreamResponse>> {
 public:
  Choice(std::shared_ptr<StreamedCall> call, int index)
      : index(index), call_(std::move(call)), request_(call_->RequestOf(index)) {
    call_->handed_on_.AddTo(context_);
    grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::AskStreamResponse>(call_->gateway_)
        .PrepareBidiStreamingCall(&context_, kAskStream, {}, this);
  }

  void Begin() {
    AddHold();  // until the last read, so that OnDone never comes while an event is being written
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&message_);
    StartCall();
  }
  void TryCancel() { context_.TryCancel(); }

  const int index;

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    call_->OnMessage(index, std::exchange(message_, {}), [this](bool sent) {
      if (!sent) context_.TryCancel();
      sent ? StartRead(&message_) : RemoveHold();
    });
  }
  void OnDone(const grpc::Status& status) override {
    call_->OnEnd(this, call_->Outcome(status));
    delete this;
  }

  const std::shared_ptr<StreamedCall> call_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  v1::AskStreamResponse message_;
};

void StreamedCall::Start(OpenAiRequest request) {
  Take(std::move(request));
  const auto questions = static_cast<size_t>(request_.Questions());
  std::vector<Choice*> first;  // a copy, since an early failure empties places of the other
  {
    MutexLock lock(mutex_);
    answers_.resize(questions);
    shown_.resize(questions);
    running_ = AtOnce();
    for (int i = 0; i < running_; ++i) first.push_back(AddNext());
  }
  exchange_->OnGone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->CancelAll();
  });
  for (Choice* choice : first) choice->Begin();
}

StreamedCall::Choice* StreamedCall::AddNext() {
  const auto index = static_cast<int>(choices_.size());
  choices_.push_back(new Choice(shared_from_this(), index));
  return choices_.back();
}

void StreamedCall::OnMessage(int index, v1::AskStreamResponse message, std::function<void(bool)> done) {
  MutexLock lock(mutex_);
  const bool goes_on = !failed_;
  if (goes_on && message.has_started() && !begun_) TakeStarted(message.started());
  if (!goes_on || !IsShown(message)) {
    lock.Unlock();
    return done(goes_on);
  }
  BeginEvents(index, message.delta());
  if (message.has_delta()) {
    AnswerForm::Events events = form_->Delta(index, message.delta());
    if (!events.empty()) return Send(std::move(events), std::move(done));
    lock.Unlock();
    return done(true);
  }
  v1::Answer& answer = answers_[static_cast<size_t>(index)];
  answer = std::move(*message.mutable_finished());
  Drop(*answer.mutable_logprobs());  // they have come with the deltas
  Drop(*answer.mutable_prompt_logprobs());
  Send(form_->Last(index, answer), std::move(done));
}

void StreamedCall::Send(AnswerForm::Events events, std::function<void(bool)> done) {
  for (size_t i = 0; i + 1 < events.size(); ++i) exchange_->SendEvent(std::move(events[i]), [](bool) {});
  exchange_->SendEvent(std::move(events.back()), std::move(done));
}

void StreamedCall::TakeStarted(const v1::Started& started) {
  form_->Start(started.request_id(), started.model());
}

void StreamedCall::BeginEvents(int index, const v1::Delta& delta) {
  if (!std::exchange(begun_, true)) exchange_->StartEvents();
  const auto choice = static_cast<size_t>(index);
  if (shown_[choice]) return;
  shown_[choice] = true;
  if (AnswerForm::Events events = form_->Begin(index, delta); !events.empty()) Send(std::move(events), [](bool) {});
}

void StreamedCall::OnEnd(Choice* choice, const absl::Status& status) {
  const auto nothing = [](bool) {};
  MutexLock lock(mutex_);
  choices_[static_cast<size_t>(choice->index)] = nullptr;
  if (!failed_ && status.ok() && choices_.size() < answers_.size()) {
    Choice* const next = AddNext();
    lock.Unlock();
    return next->Begin();
  }
  const bool last = --running_ == 0;
  if (failed_) return;
  if (!status.ok()) {
    failed_ = true;
    GiveUpPlace();
    for (Choice* other : choices_) {
      if (other != nullptr) other->TryCancel();
    }
    if (!begun_) return exchange_->Reply(LoggedError(status));
    Send(form_->Failed(status), nothing);
    return exchange_->EndEvents();
  }
  if (!last) return;
  Send(form_->End(answers_), nothing);
  exchange_->EndEvents();
}

void StreamedCall::CancelAll() {
  MutexLock lock(mutex_);
  for (Choice* choice : choices_) {
    if (choice != nullptr) choice->TryCancel();
  }
}

}  // namespace

void StartOpenAiCall(std::shared_ptr<grpc::ChannelInterface> gateway, OpenAiRequest request,
                     std::unique_ptr<AnswerForm> form, HandedOn handed_on, size_t images_bytes_at_once,
                     std::shared_ptr<HttpExchange> exchange) {
  if (request.stream) {
    std::make_shared<StreamedCall>(std::move(gateway), std::move(form), request.names, std::move(handed_on),
                                   images_bytes_at_once, std::move(exchange))
        ->Start(std::move(request));
  } else {
    std::make_shared<WholeCall>(std::move(gateway), std::move(form), request.names, std::move(handed_on),
                                images_bytes_at_once, std::move(exchange))
        ->Start(std::move(request));
  }
}

}  // namespace diptych::gateway
