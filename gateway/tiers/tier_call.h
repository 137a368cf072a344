// One unary call to a tier, repeated on another replica while none has answered.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "common/call_watch.h"
#include "common/stage_clock.h"

namespace diptych::gateway {

// Which tier is asked, and what a deadline that passes on the way is called.
struct TierName {
  std::string_view tier;   // "vision"
  std::string_view stage;  // "vit"
};

// What a tier's answer means for the caller: refusals with a reason pass as they are, a tier that is down becomes
// UNAVAILABLE with TIER_UNAVAILABLE, what no healthy tier says INTERNAL with TIER_PROTOCOL. `begun`: a part of the
// answer had come.
absl::Status TierOutcome(const grpc::Status& status, const TierName& name, const grpc::CallbackServerContext& caller,
                         bool begun = false);

// True if another replica may well answer.
bool IsWorthRepeating(const grpc::Status& status);

// The caller's cancellation and the deadline reach the tier. Thread-safe; must outlive its end.
template <typename Request, typename Response>
class TierCall {
 public:
  static constexpr int kMaxAttempts = 3;

  using Callback = std::function<void(grpc::Status)>;
  // Starts one attempt, as a stub's async() does.
  using Method = std::function<void(grpc::ClientContext*, const Request*, Response*, Callback)>;

  // Calls `done` once, on one of gRPC's threads. `caller` must outlive it.
  void Start(grpc::CallbackServerContext* caller, SteadyTime deadline, const TierName& name, Method method,
             std::function<void(absl::Status)> done) {
    caller_ = caller;
    deadline_ = deadline;
    name_ = name;
    method_ = std::move(method);
    done_ = std::move(done);
    StartAttempt();
  }

  // Ends it soon, if it has not ended.
  void Cancel() {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }

  // How often the tier was asked again. After the end.
  int repeats() const { return attempts_ > 0 ? attempts_ - 1 : 0; }

  Request request;    // before Start
  Response response;  // after an OK end

 private:
  void StartAttempt() {
    grpc::ClientContext* context = nullptr;
    {
      std::lock_guard lock(mutex_);
      ++attempts_;
      context_ = grpc::ClientContext::FromCallbackServerContext(*caller_);
      context = context_.get();
      context->set_deadline(ToSystemTime(deadline_));
      if (cancelled_) context->TryCancel();
    }
    response.Clear();
    method_(context, &request, &response, [this](const grpc::Status& status) { OnAttemptEnd(status); });
  }

  void OnAttemptEnd(const grpc::Status& status) {
    if (MayRepeat(status)) return StartAttempt();
    done_(TierOutcome(status, name_, *caller_));
  }

  bool MayRepeat(const grpc::Status& status) {
    std::lock_guard lock(mutex_);
    return !cancelled_ && attempts_ < kMaxAttempts && !caller_->IsCancelled() && IsWorthRepeating(status);
  }

  grpc::CallbackServerContext* caller_ = nullptr;
  SteadyTime deadline_;
  TierName name_;
  Method method_;
  std::function<void(absl::Status)> done_;

  std::mutex mutex_;
  std::unique_ptr<grpc::ClientContext> context_;  // of the attempt that runs
  bool cancelled_ = false;
  int attempts_ = 0;
};

}  // namespace diptych::gateway
