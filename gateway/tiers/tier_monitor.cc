#include "gateway/tiers/tier_monitor.h"

#include <chrono>
#include <utility>

#include "common/grpc/steady_deadline.h"
#include "common/logging/log.h"
#include "gateway/tiers/image_limits.h"
#include "gateway/tiers/tier_claims.h"

namespace diptych::gateway {
namespace {

constexpr auto kRefresh = std::chrono::seconds(5);  // between two descriptions
constexpr auto kWatchPatience = std::chrono::milliseconds(900);

// Logs what it says that cannot be.
bool IsPossible(const v1::ModelDescription& model, std::string_view tier) {
  const absl::Status claims = CheckClaims(model);
  if (!claims.ok()) spdlog::error("the {} tier's description is not used: {}", tier, std::string(claims.message()));
  return claims.ok();
}

}  // namespace

TierMonitor::TierMonitor(Tiers& tiers, const std::string& language_target, const std::string& vision_target,
                         const ImageLimits& own_limits)
    : tiers_(tiers),
      own_limits_(own_limits),
      language_({.name = "language",
                 .target = language_target,
                 .flag = "language_target",
                 .replicas = tiers.language->channels()}),
      vision_(
          {.name = "vision", .target = vision_target, .flag = "vision_target", .replicas = tiers.vision->channels()}) {}

void TierMonitor::Start(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  const auto changed = [this](bool reachable) {
    if (!reachable) asked_ = {};  // the tier that comes back may serve something else
    language_reachable_ = reachable;
    on_change_();
  };
  language_.Start({.confirm = [this] { return Describe(); }, .on_change = changed});
  vision_.Start();
}

void TierMonitor::Stop() {
  language_.Stop();
  vision_.Stop();
}

absl::Status TierMonitor::agreement() const {
  MutexLock lock(mutex_);
  return agreement_;
}

std::optional<v1::ModelDescription> TierMonitor::model() const {
  MutexLock lock(mutex_);
  return model_;
}

void TierMonitor::Narrow(ImageLimits& limits) const {
  MutexLock lock(mutex_);
  if (model_) NarrowTo(*model_, limits);
  NarrowTo(described_vision_, limits);
}

// A tier that is merely slow to answer keeps its last description.
bool TierMonitor::Describe() {
  const SteadyTime now = SteadyClock::now();
  if (!model() || now - asked_ >= kRefresh) {
    asked_ = now;
    Ask();
  }
  return model().has_value();
}

void TierMonitor::Ask() {
  AskLanguage();
  AskVision();
  TellLimits();
  Compare();
}

void TierMonitor::TellLimits() {
  std::vector<std::string> lines;
  {
    MutexLock lock(mutex_);
    if (!model_ || described_vision_.name().empty()) return;
    lines = RaisedInVain(own_limits_, *model_, described_vision_);
  }
  if (lines == told_limits_) return;
  for (const std::string& line : lines) spdlog::warn("{}", line);
  told_limits_ = std::move(lines);
}

void TierMonitor::Compare() {
  {
    MutexLock lock(mutex_);
    const absl::Status seen = judge_.Observe(model_.value_or(v1::ModelDescription()), described_vision_);
    if (seen.ok() == agreement_.ok()) return;
    agreement_ = seen;
  }
  if (const absl::Status now = agreement(); now.ok()) {
    spdlog::info("the tiers hold the same model again");
  } else {
    spdlog::error("not ready: {}", std::string(now.message()));
  }
  on_change_();
}

void TierMonitor::AskVision() {
  grpc::ClientContext context;
  context.set_deadline(SteadyClock::now() + kWatchPatience);
  v1::GetVisionModelResponse response;
  if (!tiers_.vision->Pick()->GetVisionModel(&context, {}, &response).ok()) return;
  if (!IsPossible(response.model(), "vision")) return;
  MutexLock lock(mutex_);
  described_vision_ = std::move(*response.mutable_model());
}

void TierMonitor::AskLanguage() {
  grpc::ClientContext context;
  context.set_deadline(SteadyClock::now() + kWatchPatience);
  v1::GetLanguageModelResponse response;
  if (!tiers_.language->Pick()->GetLanguageModel(&context, {}, &response).ok()) return;
  if (!IsPossible(response.model(), "language")) return;
  MutexLock lock(mutex_);
  model_ = std::move(*response.mutable_model());
}

}  // namespace diptych::gateway
