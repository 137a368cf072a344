// Keeps an eye on the language tier: whether it answers, and as what.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "diptych/v1/inference.pb.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Has a thread of its own, because a channel's state can only be waited for. Thread-safe.
class TierWatch {
 public:
  // `tiers` must outlive the watch.
  explicit TierWatch(Tiers& tiers) : tiers_(tiers) {}
  ~TierWatch() { Stop(); }

  // Once. `on_change` is called on the watch's thread each time the tier becomes reachable or is lost.
  void Start(std::function<void(bool reachable)> on_change);

  // No on_change after it returns. Idempotent; not from on_change.
  void Stop();

  // What the tier last said it serves; nullopt before its first answer.
  std::optional<v1::ModelDescription> model() const;

 private:
  void Run();
  // Keeps the tier's description if it gives one.
  void Ask();
  bool stopped() const;

  Tiers& tiers_;
  std::function<void(bool)> on_change_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::optional<v1::ModelDescription> model_;
  std::thread thread_;
};

}  // namespace diptych::gateway
