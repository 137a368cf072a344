// Keeps an eye on the tiers: whether they answer, and what both serve.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "common/channel_watch.h"
#include "common/image_header.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Says in the log when a tier cannot be reached (common/channel_watch.h). Thread-safe.
class TierWatch {
 public:
  // `tiers` must outlive the watch; the targets are those that they were opened with.
  TierWatch(Tiers& tiers, const std::string& language_target, const std::string& vision_target);
  ~TierWatch() { Stop(); }

  // Once. `on_change` is called on a thread of the watch each time the language tier becomes reachable or is lost.
  void Start(std::function<void(bool reachable)> on_change);

  // No on_change after it returns. Idempotent; not from on_change.
  void Stop();

  // What the language tier last said it serves; nullopt before its first answer.
  std::optional<v1::ModelDescription> model() const;

  // Lowers bounds to what both tiers last said that they take; a tier that has not answered yet says nothing.
  void Narrow(ImageLimits& limits) const;

 private:
  // Keeps the descriptions of the tiers that give one; asks now and then. True if the language tier gave one.
  bool Describe();
  void Ask();
  void AskLanguage();
  void AskVision();

  Tiers& tiers_;
  SteadyTime asked_{};  // of the language watch's thread
  mutable std::mutex mutex_;
  std::optional<v1::ModelDescription> model_;
  v1::ModelDescription described_vision_;  // empty before the first answer
  ChannelWatch language_, vision_;
};

}  // namespace diptych::gateway
