// Keeps an eye on the way to a tier, and says in the log when it is not there.
#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/channel.h"
#include "common/mutex.h"
#include "common/reachability.h"

namespace diptych {

struct WatchedTier {
  std::string name;    // "vision"
  std::string target;  // where it should be, as the operator gave it
  std::string flag;    // that gave it: "vision_target"
  std::shared_ptr<grpc::Channel> channel;
};

// Has a thread of its own, because a channel's state can only be waited for. Connects the channel at once, and again as
// soon as it can. Thread-safe.
class ChannelWatch {
 public:
  struct Observer {
    // Called with each look at a connected channel; false: the tier counts as not reachable yet. Empty: it is
    // reachable.
    std::function<bool()> confirm;
    // Called each time the tier becomes reachable or is lost. May be empty.
    std::function<void(bool reachable)> on_change;
  };

  explicit ChannelWatch(WatchedTier tier) : tier_(std::move(tier)), waker_(tier_.channel) {}
  ~ChannelWatch() { Stop(); }

  // Once. The observer is called on the watch's thread.
  void Start(Observer observer = {});

  // The observer is not called after it returns. Idempotent; not from the observer.
  void Stop();

 private:
  void Run();
  // One round.
  void Round(Reachability& reachability, bool& reachable);
  Reachability::State Look(grpc_connectivity_state state) const;
  void Log(Reachability::Say say) const;
  // What the way to the tier says when it is used.
  std::string WhyUnreachable() const;
  bool stopped() const;

  const WatchedTier tier_;
  ChannelWaker waker_;
  Observer observer_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace diptych
