// Keeps the channel to a tier connected, has its replicas found, and logs when the tier is lost and when it is back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/grpc/channel.h"
#include "common/mutex.h"
#include "common/replicas/reachability.h"
#include "common/replicas/replica_channels.h"

namespace diptych {

struct MonitoredTier {
  std::string name;    // "vision"
  std::string target;  // its address, as the operator gave it
  std::string flag;    // the flag with that address: "vision_target"
  std::shared_ptr<ReplicaChannels> replicas;
};

// Has a thread, because gRPC offers only a blocking wait for a channel's state. Connects at once, and again as soon as
// it can. Thread-safe.
class ChannelMonitor {
 public:
  struct Observer {
    // Called every 50 ms while the channel is connected; false: the tier does not count as reachable yet. May be empty.
    std::function<bool()> confirm;
    // Called each time the tier becomes reachable or is lost. May be empty.
    std::function<void(bool reachable)> on_change;
  };

  explicit ChannelMonitor(MonitoredTier tier) : tier_(std::move(tier)), waker_(tier_.replicas->all()) {}
  ~ChannelMonitor() { Stop(); }

  // Call once. The observer is called on the monitor's thread.
  void Start(Observer observer = {});

  // Returns when the observer will not be called any more. Idempotent. Must not be called from the observer.
  void Stop();

 private:
  void Run();
  // One round.
  void Round(Reachability& reachability, bool& reachable);
  Reachability::State Look(grpc_connectivity_state state) const;
  void Log(Reachability::Say say) const;
  // Asks for the tier's health, and returns the error in words.
  std::string WhyUnreachable() const;
  bool stopped() const;

  const MonitoredTier tier_;
  ChannelWaker waker_;
  Observer observer_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych
