// One question to the language tier: opened, followed and, when its replica is lost, continued on another one.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/replicas/replica_channels.h"
#include "common/stage_clock.h"
#include "common/tracing/span.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/tiers/retry_budget.h"

namespace diptych::gateway {

// Asks Generate on a replica of the language tier, the one whose caches know the question best. If that one is lost,
// another one goes on after the tokens that have come, as if nothing had happened, while LossPatience lasts; each token
// renews it. A replica that is full is left for another one; a begun answer waits some seconds for
// room, and one of an asker with `on_full` until its deadline. Where tokens are sampled without a seed it chooses one,
// so that all replicas draw the same. A replica that begins again, as it does with beams, is listened to as long as it
// says the same, and what has come is passed over. Checks the order started, delta*, finished. Subclass it for what
// happens with the messages. The caller's cancellation and the deadline reach the tier. Callbacks come strictly one
// after the other, on gRPC's threads; between OnMessage and Next or Stop there are none. Thread-compatible.
class LanguageStream {
 public:
  // On whose behalf the tier is asked.
  struct Asker {
    std::string key_name;                     // for the tiers' logs
    const Span* span;                         // of the request; must outlive OnEnd
    std::function<void()> on_full = nullptr;  // called each time that no replica has room; null: then it ends
  };

  // `replicas`, `caller` and `budget`, which is asked before each further attempt, must outlive the call.
  LanguageStream(ReplicaStubs<v1::LanguageService>* replicas, RetryBudget* budget, grpc::CallbackServerContext* caller,
                 SteadyTime deadline);
  virtual ~LanguageStream();

  LanguageStream(const LanguageStream&) = delete;
  LanguageStream& operator=(const LanguageStream&) = delete;

  // Starts the first attempt. Once.
  void Start(v1::GenerateRequest request, Asker asker);

 protected:
  // A message arrived: `started` once, no token twice, and `finished` is about the whole answer. The next one is read
  // after Next() was called, here or later.
  virtual void OnMessage(v1::GenerateResponse message) = 0;
  // Nothing follows: OK after `finished`, else why not, in the words that the caller gets. The object may
  // be destroyed in it.
  virtual void OnEnd(absl::Status status) = 0;

  // After each OnMessage one of the two: go on, or cancel what the tier does; OnEnd follows.
  void Next();
  void Stop();
  // Lets go of the question and of what has come, so that nothing can go on from then on. Call after `finished` or in
  // OnEnd.
  void Forget();
  // Nothing can go on from then on, though nothing has ended: there is no memory for what would have to be kept.
  void KeepNothing();

  SteadyTime deadline() const { return deadline_; }
  // When the current attempt was sent.
  SteadyTime asked_at() const { return asked_at_; }
  // How often the question was sent to the tier again.
  int repeats() const { return attempts_ > 0 ? attempts_ - 1 : 0; }
  // How often the begun answer went on in another attempt.
  int resumed() const { return resumed_; }
  // Address of the replica of the last attempt; empty before its first message or its end.
  const std::string& replica() const { return replica_; }

 private:
  class Attempt;

  void StartAttempt();
  void OnAttemptMessage(v1::GenerateResponse message);
  void OnAttemptDone(const grpc::Status& status);
  // Reports how the current attempt ended to the choice of replicas.
  void Report(const grpc::Status& status);
  // A protocol error, or OK if `message` may come now.
  absl::Status CheckOrder(const v1::GenerateResponse& message);
  // A protocol error if `message` is of an answer to another question.
  absl::Status CheckId(const v1::GenerateResponse& message) const;
  // A protocol error if there are more tokens than were asked for, or than another replica could be sent, and if too
  // many messages bring none.
  absl::Status CheckLength(const v1::Delta& delta) const;
  // Learns whether this replica goes on or begins again. UNAVAILABLE if neither.
  absl::Status Resume(const v1::Started& started);
  // Takes out of `delta` what has come before. UNAVAILABLE if this replica says something else; CheckLength of the
  // rest.
  absl::Status PassOver(v1::Delta& delta);
  // Keeps of `delta` what another replica would go on from.
  void Keep(const v1::Delta& delta);
  // Adds what earlier attempts brought and this replica does not know.
  void MakeWhole(v1::Answer& answer);
  // The end of an attempt, as this server's own error.
  absl::Status Outcome(const grpc::Status& status) const;
  // When to ask again, from now on; nullopt if that would not help.
  std::optional<SteadyDuration> PauseBeforeRepeat(const grpc::Status& status);
  std::optional<SteadyDuration> PauseForRoom(const grpc::Status& status);
  // The same for a question that waits until there is room.
  std::optional<SteadyDuration> PauseAtGate();
  // While nothing runs.
  void Wait(SteadyDuration pause);
  // Progress of the current attempt, as its messages show it.
  Stage StageNow() const;

  ReplicaStubs<v1::LanguageService>* const replicas_;
  RetryBudget* const budget_;
  grpc::CallbackServerContext* const caller_;
  const SteadyTime deadline_;
  v1::GenerateRequest request_;
  Asker asker_{};
  std::optional<AffinityKey> affinity_;
  std::unique_ptr<Attempt> attempt_;
  std::string replica_;
  int attempts_ = 0;
  LossPatience patience_;  // since a token came
  int full_ = 0;           // attempts since a token came that found no room
  int resumed_ = 0;        // attempts that started after a token
  bool keeps_ = true;
  // Everything received, in all attempts.
  google::protobuf::RepeatedField<int32_t> tokens_;
  google::protobuf::RepeatedPtrField<v1::StepLogprobs> logprobs_;
  size_t text_bytes_ = 0;
  int64_t came_ = 0;  // tokens, also of those that are not kept
  bool prompt_scored_ = false;
  SteadyTime asked_at_{};
  // Of the current attempt.
  int next_token_ = 0;        // where in tokens_ its next one belongs
  size_t known_text_ = 0;     // bytes that it will say again
  int unknown_logprobs_ = 0;  // that it will not say at the end, the first ones
  int deltas_without_token_ = 0;
  bool started_ = false;
  bool delta_seen_ = false;
  bool finished_ = false;
  bool started_shown_ = false;  // of any attempt
  grpc::Alarm pause_;
  absl::Status broken_;  // the tier broke the protocol, or cannot go on
};

}  // namespace diptych::gateway
