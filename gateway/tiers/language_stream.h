// One question to the language tier: opened, followed and, while nothing of it has been shown, repeated.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/stage_clock.h"
#include "diptych/v1/language.grpc.pb.h"

namespace diptych::gateway {

// Until when a broken attempt may be repeated on another replica.
enum class Repeatable {
  kUntilEnd,         // nothing is shown before the whole answer is there
  kUntilFirstDelta,  // deltas are shown as they come
};

// Asks Generate on a replica of the language tier, which repeats the question on another one if the tier is
// gone without having answered, at most kMaxTierAttempts times in all. Checks the order started,
// delta*, finished. Subclass it for what happens with the messages. The caller's cancellation and the
// deadline reach the tier.
// Callbacks come strictly one after the other, on gRPC's threads; between OnMessage and Next or Stop there
// are none. Thread-compatible.
class LanguageStream {
 public:
  // `stub` and `caller` must outlive the call.
  LanguageStream(v1::LanguageService::Stub* stub, grpc::CallbackServerContext* caller, SteadyTime deadline,
                 Repeatable repeatable);
  virtual ~LanguageStream();

  LanguageStream(const LanguageStream&) = delete;
  LanguageStream& operator=(const LanguageStream&) = delete;

  // Starts the first attempt. Once.
  void Start(v1::GenerateRequest request);

 protected:
  // A message arrived. The next one is read after Next() was called, here or later.
  virtual void OnMessage(v1::GenerateResponse message) = 0;
  // Nothing follows: OK after `finished`, else why not, in the words that the caller gets. The object may
  // be destroyed in it.
  virtual void OnEnd(absl::Status status) = 0;

  // After each OnMessage one of the two: go on, or cancel what the tier does; OnEnd follows.
  void Next();
  void Stop();
  // Lets go of the question, which can't be repeated from then on. Call after `finished` or in OnEnd.
  void Forget() { request_.Clear(); }

  SteadyTime deadline() const { return deadline_; }
  // When the current attempt was sent.
  SteadyTime asked_at() const { return asked_at_; }
  // How often the question was sent to the tier again.
  int repeats() const { return attempts_ > 0 ? attempts_ - 1 : 0; }

 private:
  class Attempt;

  void StartAttempt();
  void OnAttemptMessage(v1::GenerateResponse message);
  void OnAttemptDone(const grpc::Status& status);
  // A protocol error, or OK if `message` may come now.
  absl::Status CheckOrder(const v1::GenerateResponse& message);
  // What an attempt ended with, in our own words.
  absl::Status Outcome(const grpc::Status& status) const;
  bool MayRepeat(const grpc::Status& status) const;
  // Where the current attempt is, as far as its messages tell.
  Stage StageNow() const;

  v1::LanguageService::Stub* const stub_;
  grpc::CallbackServerContext* const caller_;
  const SteadyTime deadline_;
  const Repeatable repeatable_;
  v1::GenerateRequest request_;
  std::unique_ptr<Attempt> attempt_;
  int attempts_ = 0;
  SteadyTime asked_at_{};
  // Of the current attempt.
  bool started_ = false;
  bool delta_seen_ = false;
  bool finished_ = false;
  bool started_shown_ = false;  // of any attempt
  absl::Status protocol_error_;
};

}  // namespace diptych::gateway
