// Channels to a tier's replicas: prefers the one that has the request in its caches, avoids those that fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/grpc/channel.h"
#include "common/metrics/metrics.h"
#include "common/mutex.h"
#include "common/replicas/known_replicas.h"
#include "common/replicas/outlier_detection.h"
#include "common/replicas/replica_affinity.h"
#include "common/stage_clock.h"

namespace diptych {

// Metric of both kinds of callers, with a label `tier`.
inline constexpr char kKnownReplicas[] = "diptych_known_replicas";
inline constexpr char kKnownReplicasHelp[] = "Replicas of the tier among which images and conversations choose.";

// How a call to a replica ended.
struct CallEnd {
  std::string replica;  // as ClientContext::peer gives it
  grpc::Status status;
  bool was_heard = false;      // a message came
  bool was_cancelled = false;  // by its caller
  SteadyTime asked{};
};

// The verdict of a call's end on its replica. An answer is one that came whole. Refusals, which may be the request's
// fault or a full replica's, say nothing; nor does a deadline that left no time, or that the replica itself saw pass.
enum class ReplicaVerdict { kNone, kAnswered, kFailed };
ReplicaVerdict VerdictOf(const CallEnd& call, SteadyTime now);

// A channel to all replicas and one to each that is known (common/replicas/known_replicas.h); while some are left out
// (common/replicas/outlier_detection.h), also one to those that are known and are not. That one is left again where no
// replica of it can be reached. Thread-safe.
class ReplicaChannels : public std::enable_shared_from_this<ReplicaChannels> {
 public:
  // The errors of ChannelMaker::Open. `tier` is for the log: "vision"; `calls_at_ease` as ChooseReplica's.
  static absl::StatusOr<std::shared_ptr<ReplicaChannels>> Open(const ChannelOptions& options, std::string tier,
                                                               Affinity affinity, int calls_at_ease);

  const std::shared_ptr<grpc::Channel>& all() const { return all_; }
  // For a call that begins now. Calls with the same key go to the same replica while that one can take them; without a
  // key, and with Affinity::kNone, the replicas take turns. No channel: all().
  Route Pick(std::optional<AffinityKey> key, SteadyTime now);
  void OnEnd(const CallEnd& call, SteadyTime now);
  // How many replicas are known and can be asked. With fewer than two, as always with Affinity::kNone, a key makes no
  // difference.
  size_t known() const;
  // For how long no replica that serves has been connected; zero while one is. Before the first, since Open.
  SteadyDuration DownFor(SteadyTime now);
  // Finds out which replicas there are, once a second, without waiting: call it as often as DownFor is to be exact.
  // With Affinity::kNone it does not ask who they are.
  void LookAround(SteadyTime now);

  // Shows how many replicas are left out. Once; this must outlive the last reading.
  void AddMetrics(MetricRegistry& registry);

 private:
  ReplicaChannels(std::shared_ptr<const ChannelMaker> maker, std::string service_name, std::string tier,
                  Affinity affinity, int calls_at_ease);

  int Ejected(SteadyTime now);
  void OnFailure(const CallEnd& call, SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A channel to the remaining replicas.
  void Choose(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How many calls it takes to visit all replicas now; 0 between two rounds.
  int BeginRound(SteadyTime now);
  void Visit();

  const std::shared_ptr<const ChannelMaker> maker_;  // outlives its channels
  const std::string service_name_;
  const std::string tier_;
  const Affinity affinity_;
  const std::shared_ptr<grpc::Channel> all_;
  std::atomic<SteadyTime> up_ = SteadyClock::now();  // when a replica was last seen connected
  mutable Mutex mutex_;
  OutlierDetection detection_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<grpc::Channel> some_ ABSL_GUARDED_BY(mutex_);  // null while none is left out
  std::optional<SteadyTime> until_ ABSL_GUARDED_BY(mutex_);      // some_ is right
  KnownReplicas known_ ABSL_GUARDED_BY(mutex_);
  SteadyTime next_round_ ABSL_GUARDED_BY(mutex_){};
};

// A stub for one call, to be kept until that ends.
template <typename Service>
struct PickedStub {
  std::shared_ptr<typename Service::Stub> stub;
  std::shared_ptr<void> counted = nullptr;  // as Route's

  typename Service::Stub* operator->() const { return stub.get(); }
};

// Stubs of one service. Thread-safe.
template <typename Service>
class ReplicaStubs {
 public:
  explicit ReplicaStubs(std::shared_ptr<ReplicaChannels> channels)
      : channels_(std::move(channels)), all_(Service::NewStub(channels_->all())) {}

  // As ReplicaChannels::Pick.
  PickedStub<Service> Pick(std::optional<AffinityKey> key = std::nullopt) {
    Route route = channels_->Pick(key, SteadyClock::now());
    if (route.channel == nullptr) return {.stub = all_};
    return {.stub = Service::NewStub(std::move(route.channel)), .counted = std::move(route.counted)};
  }
  void OnEnd(const CallEnd& call) { channels_->OnEnd(call, SteadyClock::now()); }

  const std::shared_ptr<ReplicaChannels>& channels() const { return channels_; }

 private:
  const std::shared_ptr<ReplicaChannels> channels_;
  const std::shared_ptr<typename Service::Stub> all_;
};

}  // namespace diptych
