// One unary call to a tier, repeated on another replica while none has answered.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "common/grpc/call_context.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/message_checksum.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/mutex.h"
#include "common/replicas/replica_affinity.h"
#include "common/replicas/replica_channels.h"
#include "common/replicas/tier_errors.h"
#include "common/stage_clock.h"
#include "common/tracing/request_span.h"
#include "gateway/tiers/retry_budget.h"
#include "gateway/tiers/unary_attempt.h"

namespace diptych::gateway {

// Which tier is asked, and where a deadline passes if the tier does not get to say so.
struct TierName {
  std::string_view tier;  // "vision"
  Stage stage;
  RetryBudget* budget = nullptr;                       // asked before each further attempt
  ReplicaChannels* replicas = nullptr;                 // asked for one for each attempt, and told how it ended
  std::optional<AffinityKey> affinity = std::nullopt;  // by which they choose
  std::string key_name = {};                           // the caller's, for the tier's log
  const Span* span = nullptr;                          // of the request; must outlive the call's end
  std::string_view method;                             // "diptych.v1.VisionService/AnalyzeVision"
};

// The caller's cancellation and the deadline reach the tier. Thread-safe; must outlive its end.
template <typename Request, typename Response>
class TierCall {
 public:
  // Calls `done` once, on one of gRPC's threads. `caller` must outlive it.
  void Start(grpc::CallbackServerContext* caller, SteadyTime deadline, const TierName& name,
             std::function<void(absl::Status)> done) {
    caller_ = caller;
    deadline_ = deadline;
    name_ = name;
    done_ = std::move(done);
    name_.budget->OnRequest(SteadyClock::now());
    StartAttempt();
  }

  // Ends it soon, if it has not ended.
  void Cancel() {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }

  // How often the tier was asked again. After the end.
  int repeats() const {
    MutexLock lock(mutex_);
    return attempts_ > 0 ? attempts_ - 1 : 0;
  }

  // Address of the replica that was asked last. After the end.
  const std::string& replica() const { return replica_; }

  Request request;    // before Start
  Response response;  // after an OK end

 private:
  void StartAttempt() {
    std::shared_ptr<grpc::ClientContext> context = grpc::ClientContext::FromCallbackServerContext(*caller_);
    {
      MutexLock lock(mutex_);
      ++attempts_;
      context_ = context;
      context->set_deadline(deadline_);
      SendKeyName(*context, name_.key_name);
      SendRequestId(*context, request.request_id());
      SendChecksum(*context, request);
      span_ = name_.span->Child(name_.method, SpanKind::kClient, SteadyClock::now());
      SendTraceContext(*context, span_.context());
      if (cancelled_) context->TryCancel();
      asked_ = SteadyClock::now();
    }
    response.Clear();
    UnaryAttempt<Request, Response>::Start(Choose(), std::string(name_.method), std::move(context), request, response,
                                           [this](const grpc::Status& status) { OnAttemptEnd(status); });
  }

  Route Choose() {
    Route route = name_.replicas->Pick(name_.affinity, SteadyClock::now());
    if (route.channel == nullptr) route.channel = name_.replicas->all();
    return route;
  }

  void OnAttemptEnd(const grpc::Status& status) {
    const bool left = caller_->IsCancelled();
    {
      MutexLock lock(mutex_);
      replica_ = context_->peer();
      EndAttempt(span_, attempts_, replica_, FromGrpcStatus(status));
    }
    Report(status, left);
    const auto pause = left ? std::nullopt : PauseBeforeRepeat(status);
    if (pause) return pause_.Set(SteadyClock::now() + *pause, [this](bool) { StartAttempt(); });
    done_(left && !status.ok() ? CallerLeft() : FromTier(status, name_.tier, name_.stage));
  }

  void Report(const grpc::Status& status, bool left) {
    MutexLock lock(mutex_);
    name_.replicas->OnEnd({.replica = replica_, .status = status, .was_cancelled = left || cancelled_, .asked = asked_},
                          SteadyClock::now());
  }

  std::optional<SteadyDuration> PauseBeforeRepeat(const grpc::Status& status) {
    MutexLock lock(mutex_);
    if (cancelled_ || RetryOf(status) == Retry::kNo) return std::nullopt;
    return PauseAfterLoss(patience_, *name_.replicas, *name_.budget, deadline_);
  }

  grpc::CallbackServerContext* caller_ = nullptr;
  SteadyTime deadline_;
  TierName name_{};
  std::function<void(absl::Status)> done_;

  mutable Mutex mutex_;
  std::shared_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);  // of the attempt that runs
  Span span_ ABSL_GUARDED_BY(mutex_);                                     // likewise
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  int attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  LossPatience patience_ ABSL_GUARDED_BY(mutex_);
  SteadyTime asked_ ABSL_GUARDED_BY(mutex_){};  // of that attempt
  std::string replica_;                         // of the thread that ends an attempt
  grpc::Alarm pause_;                           // likewise
};

}  // namespace diptych::gateway
