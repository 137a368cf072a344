// Follows both tiers: whether they can be reached, which model each serves, and whether it is the same model.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/images/image_header.h"
#include "common/mutex.h"
#include "common/replicas/channel_monitor.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/tiers/model_agreement.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Its ChannelMonitors log when a tier cannot be reached. Thread-safe.
class TierMonitor {
 public:
  // `tiers` must outlive the monitor; the targets are those that they were opened with. It warns once of `own_limits`
  // that were raised here and on no tier.
  TierMonitor(Tiers& tiers, const std::string& language_target, const std::string& vision_target,
              const ImageLimits& own_limits);
  ~TierMonitor() { Stop(); }

  // Once. `on_change` is called on a thread of the monitor each time the language tier becomes reachable or is lost,
  // and each time that the tiers begin or stop to agree.
  void Start(std::function<void()> on_change);

  // Returns when on_change will not be called any more. Idempotent. Must not be called from on_change.
  void Stop();

  bool language_reachable() const { return language_reachable_; }

  // OK, or why the tiers cannot answer about images together (ModelAgreement).
  absl::Status agreement() const;

  // The language tier's last description of its model; nullopt before the first one.
  std::optional<v1::ModelDescription> model() const;

  // Lowers bounds to what both tiers last said that they take; a tier that has not answered yet says nothing.
  void Narrow(ImageLimits& limits) const;

 private:
  // Asks both tiers for their descriptions if the last ones are old. True once the language tier has given one.
  bool Describe();
  void Ask();
  void AskLanguage();
  void AskVision();
  void TellLimits();
  void Compare();

  Tiers& tiers_;
  const ImageLimits own_limits_;
  std::function<void()> on_change_;
  ModelAgreement judge_;  // of the language monitor's thread
  std::atomic<bool> language_reachable_ = false;
  SteadyTime asked_{};                    // of the language monitor's thread
  std::vector<std::string> told_limits_;  // likewise
  mutable Mutex mutex_;
  std::optional<v1::ModelDescription> model_ ABSL_GUARDED_BY(mutex_);
  v1::ModelDescription described_vision_ ABSL_GUARDED_BY(mutex_);  // empty before the first answer
  absl::Status agreement_ ABSL_GUARDED_BY(mutex_);
  ChannelMonitor language_, vision_;
};

}  // namespace diptych::gateway
