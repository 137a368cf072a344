// The way to a tier's replicas, past those that fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/channel.h"
#include "common/mutex.h"
#include "common/outlier_detection.h"
#include "common/stage_clock.h"

namespace diptych {

// How a call to a replica ended.
struct CallEnd {
  std::string replica;  // as ClientContext::peer gives it
  grpc::Status status;
  bool was_heard = false;      // a message came
  bool was_cancelled = false;  // by its caller
  SteadyTime asked{};
};

// What the end of a call says of its replica. An answer is one that came whole. Refusals, which may be the request's
// fault or a full replica's, say nothing; nor does a deadline that left no time, or that the replica itself saw pass.
enum class ReplicaVerdict { kNone, kAnswered, kFailed };
ReplicaVerdict VerdictOf(const CallEnd& call, SteadyTime now);

// A channel to all replicas and, while some are left out (common/outlier_detection.h), one to those that are known and
// are not. That one is left again where no replica of it can be reached. Thread-safe.
class ReplicaChannels {
 public:
  // The errors of ChannelMaker::Open. `tier` is for the log: "vision".
  static absl::StatusOr<std::shared_ptr<ReplicaChannels>> Open(const ChannelOptions& options, std::string tier);

  const std::shared_ptr<grpc::Channel>& all() const { return all_; }
  // For a call that begins now. Null: all().
  std::shared_ptr<grpc::Channel> Pick(SteadyTime now);
  void OnEnd(const CallEnd& call, SteadyTime now);

 private:
  ReplicaChannels(std::shared_ptr<const ChannelMaker> maker, std::string tier)
      : maker_(std::move(maker)), tier_(std::move(tier)), all_(maker_->Make()) {}

  void OnFailure(const CallEnd& call, SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A channel to whoever remains.
  void Choose(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<const ChannelMaker> maker_;  // outlives its channels
  const std::string tier_;
  const std::shared_ptr<grpc::Channel> all_;
  Mutex mutex_;
  OutlierDetection detection_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<grpc::Channel> some_ ABSL_GUARDED_BY(mutex_);  // null while none is left out
  std::optional<SteadyTime> until_ ABSL_GUARDED_BY(mutex_);      // some_ is right
};

// Stubs of one service. Thread-safe.
template <typename Service>
class ReplicaStubs {
 public:
  explicit ReplicaStubs(std::shared_ptr<ReplicaChannels> channels)
      : channels_(std::move(channels)), all_(Service::NewStub(channels_->all())) {}

  // For one call, which need not outlive it.
  std::shared_ptr<typename Service::Stub> Pick() {
    auto channel = channels_->Pick(SteadyClock::now());
    if (channel == nullptr) return all_;
    return Service::NewStub(std::move(channel));
  }
  void OnEnd(const CallEnd& call) { channels_->OnEnd(call, SteadyClock::now()); }

  ReplicaChannels& channels() { return *channels_; }

 private:
  const std::shared_ptr<ReplicaChannels> channels_;
  const std::shared_ptr<typename Service::Stub> all_;
};

}  // namespace diptych
