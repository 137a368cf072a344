// The replicas of a tier that have been seen lately, each with a channel of its own.
#pragma once

#include <grpcpp/channel.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "common/grpc/channel.h"
#include "common/replicas/outlier_detection.h"
#include "common/replicas/replica_affinity.h"
#include "common/stage_clock.h"

namespace diptych {

// The replica for one call.
struct Route {
  std::shared_ptr<grpc::Channel> channel;
  std::shared_ptr<void> counted = nullptr;  // the call counts as in flight for as long as this is held
};

// Thread-compatible. A replica goes by its address, as peers are called: "ipv4:10.0.0.1:7001".
class KnownReplicas {
 public:
  // Of one that the channel to all no longer visits.
  static constexpr SteadyDuration kForgetAfter = std::chrono::seconds(30);
  // For one that could not take a call: the retry time that callers get.
  static constexpr SteadyDuration kRest = std::chrono::seconds(1);

  // `maker` must outlive the object; `calls_at_ease` as ChooseReplica's.
  KnownReplicas(const ChannelMaker* maker, int calls_at_ease) : maker_(maker), calls_at_ease_(calls_at_ease) {}

  // The channel to all has visited it. True if it is new.
  bool OnSeen(const std::string& replica, SteadyTime now);
  // It is asked nothing for kRest.
  void Rest(const std::string& replica, SteadyTime now);
  void ForgetOld(SteadyTime now);
  size_t size() const { return replicas_.size(); }
  // Those that are connected and serve.
  size_t ready() const;

  // By ChooseReplica, of those that are connected and serve, neither rest nor are left out. No channel if fewer than
  // two replicas are known, or none of them can be asked.
  Route Choose(AffinityKey key, const OutlierDetection& detection, SteadyTime now) const;

 private:
  struct Replica {
    AffinityKey address = 0;
    std::shared_ptr<grpc::Channel> channel;
    std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
    SteadyTime seen{};
    SteadyTime rests_until{};

    bool IsReady() const { return channel->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY; }
  };

  const ChannelMaker* const maker_;
  const int calls_at_ease_;
  std::map<std::string, Replica> replicas_;
};

}  // namespace diptych
