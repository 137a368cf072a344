// Keeps an eye on the tiers: whether the language tier answers, and what both serve.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "common/image_header.h"
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

  // Lowers bounds to what both tiers last said that they take; a tier that has not answered yet says nothing.
  void Narrow(ImageLimits& limits) const;

 private:
  void Run();
  // Keeps the description of each tier that gives one.
  void Ask();
  void AskLanguage();
  void AskVision();
  bool stopped() const;

  Tiers& tiers_;
  std::function<void(bool)> on_change_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::optional<v1::ModelDescription> model_;
  v1::ModelDescription vision_;  // empty before the first answer
  std::thread thread_;
};

}  // namespace diptych::gateway
