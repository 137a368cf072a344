#include "language_service/images/image_pull.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "common/grpc/client_reactor.h"
#include "common/grpc/end_of_call.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/message_checksum.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "common/tracing/request_span.h"

namespace diptych::language {
namespace {

constexpr SteadyDuration kPauseWhileWaiting = std::chrono::milliseconds(400);

// Tokens that were refused, or another model, as while a new one is rolled out: another replica may do better.
bool IsOfThisReplica(const grpc::Status& status) {
  return status.ok() || ReasonOf(FromGrpcStatus(status)) == reason::kModelMismatch;
}

}  // namespace

int64_t BytesForImage(const ImageRequest& image) {
  return 2 * static_cast<int64_t>(image.message.image().size());
}

// One call. Deletes itself when gRPC is done with it.
class ImagePull::Attempt final : public ClientReactor<grpc::ClientReadReactor<v1::EncodeImageResponse>> {
 public:
  // `attempt` counts from 1.
  Attempt(std::shared_ptr<ImagePull> pull, int attempt)
      : pull_(std::move(pull)),
        attempt_(attempt),
        span_(pull_->tier_->tracer->BeginClientCall(pull_->request_->trace, "diptych.v1.VisionService/EncodeImage")),
        receiver_(pull_->request_->expected, pull_->request_->message.dtype()) {
    context_->set_deadline(pull_->call_->deadline());
    SendKeyName(*context_, pull_->request_->key_name);
    SendRequestId(*context_, pull_->request_->message.request_id());
    SendChecksum(*context_, pull_->request_->message);
    SendTraceContext(*context_, span_.context());
  }

  void Begin() {
    stub_ = pull_->tier_->replicas->Pick(AffinityKeyOf({pull_->request_->expected.image_key}));
    stub_->async()->EncodeImage(context_.get(), &pull_->request_->message, this);
    StartRead(&message_);
    StartCall();
  }

  void TryCancel() {
    was_cancelled_ = true;
    context_->TryCancel();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    was_heard_ = true;
    received_ = receiver_.Accept(message_);
    if (!received_.ok()) return context_->TryCancel();
    if (receiver_.complete()) end_.Expect(context_);
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::unique_ptr<Attempt> self(this);
    // Tokens that are refused are a failure of the replica's.
    pull_->tier_->replicas->OnEnd({.replica = context_->peer(),
                                   .status = received_.ok() ? status : grpc::Status(grpc::StatusCode::DATA_LOSS, ""),
                                   .was_heard = was_heard_,
                                   .was_cancelled = was_cancelled_,
                                   .asked = asked_});
    EndAttempt(span_, attempt_, context_->peer(), received_.ok() ? FromGrpcStatus(status) : received_);
    if (!received_.ok()) {
      pull_->metrics_->Refused(receiver_.fault());
      return pull_->OnAttemptEnd(grpc::Status::OK, received_);
    }
    // Tokens that are all there are valid, however the call ends.
    if (!status.ok() && !receiver_.complete()) return pull_->OnAttemptEnd(status, absl::UnknownError(""));
    auto tokens = receiver_.Finish();
    if (tokens.ok()) {
      tokens->timings.replica = context_->peer();
    } else {
      pull_->metrics_->Refused(receiver_.fault());
    }
    pull_->OnAttemptEnd(grpc::Status::OK, std::move(tokens));
  }

 private:
  const std::shared_ptr<ImagePull> pull_;
  const int attempt_;
  PickedStub<v1::VisionService> stub_;
  const std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
  EndOfCall end_;
  Span span_;
  v1::EncodeImageResponse message_;
  VisualTokensReceiver receiver_;
  absl::Status received_;
  const SteadyTime asked_ = SteadyClock::now();
  bool was_heard_ = false;
  std::atomic<bool> was_cancelled_ = false;
};

void ImagePull::Start() {
  StartAttempt();
}

void ImagePull::StartAttempt() {
  Attempt* attempt = nullptr;
  {
    MutexLock lock(mutex_);
    if (++attempts_ > 1) metrics_->repeats.Add();
    attempt_ = attempt = new Attempt(shared_from_this(), attempts_);
    if (cancelled_) attempt->TryCancel();
  }
  attempt->Begin();
}

void ImagePull::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  if (attempt_ != nullptr) attempt_->TryCancel();
  pause_.Cancel();
}

void ImagePull::OnAttemptEnd(const grpc::Status& status, absl::StatusOr<VisualTokens> tokens) {
  {
    MutexLock lock(mutex_);
    attempt_ = nullptr;
  }
  if (tokens.ok()) {
    metrics_->visual_tokens.Add(tokens->tokens);
    return done_(std::move(tokens));
  }
  if (IsOfThisReplica(status) && RetryLater(/*wait=*/false)) return;
  if (status.ok()) return done_(std::move(tokens));
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) tier_->waker->Wake();
  if (RetryOf(status) == Retry::kAnotherReplica && RetryLater(tier_->wait)) return;
  done_(call_->cancelled() ? CallerLeft() : FromTier(status, "vision", Stage::kTokenTransfer));
}

bool ImagePull::RetryLater(bool wait) {
  MutexLock lock(mutex_);
  const auto pause = PauseBeforeRepeat(wait);
  if (!pause) return false;
  pause_.Set(SteadyClock::now() + *pause, [self = shared_from_this()](bool) mutable {
    // The alarm keeps this function as long as it lives, so the reference is taken out of it.
    const std::shared_ptr<ImagePull> pull = std::move(self);
    pull->StartAttempt();
  });
  return true;
}

std::optional<SteadyDuration> ImagePull::PauseBeforeRepeat(bool wait) {
  if (cancelled_ || !call_->Check(Stage::kTokenTransfer).ok()) return std::nullopt;
  const SteadyTime now = SteadyClock::now();
  const auto pause = patience_.OnLoss(tier_->replicas->channels()->DownFor(now), now, call_->deadline());
  return pause || !wait ? pause : kPauseWhileWaiting;
}

}  // namespace diptych::language
