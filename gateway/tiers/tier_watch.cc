#include "gateway/tiers/tier_watch.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace diptych::gateway {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(50);  // also the longest that Stop waits
constexpr auto kRefresh = std::chrono::seconds(5);       // between two descriptions
constexpr auto kWatchPatience = std::chrono::milliseconds(900);

void NarrowTo(const v1::ModelDescription& tier, ImageLimits& limits) {
  if (tier.max_image_bytes() > 0) limits.max_bytes = std::min(limits.max_bytes, int64_t{tier.max_image_bytes()});
  if (tier.max_image_pixels() > 0) limits.max_pixels = std::min(limits.max_pixels, int64_t{tier.max_image_pixels()});
}

}  // namespace

void TierWatch::Start(std::function<void(bool)> on_change) {
  on_change_ = std::move(on_change);
  thread_ = std::thread([this] { Run(); });
}

void TierWatch::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

std::optional<v1::ModelDescription> TierWatch::model() const {
  std::lock_guard lock(mutex_);
  return model_;
}

void TierWatch::Narrow(ImageLimits& limits) const {
  std::lock_guard lock(mutex_);
  if (model_) NarrowTo(*model_, limits);
  NarrowTo(vision_, limits);
}

bool TierWatch::stopped() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

void TierWatch::Run() {
  bool reachable = false;
  std::chrono::steady_clock::time_point asked;
  while (!stopped()) {
    const grpc_connectivity_state state = tiers_.language_channel->GetState(/*try_to_connect=*/true);
    const auto now = std::chrono::steady_clock::now();
    const bool connected = state == GRPC_CHANNEL_READY;
    if (connected && (!reachable || now - asked >= kRefresh)) {
      asked = now;
      Ask();  // a tier that is merely slow to answer keeps its last description
    }
    const bool reachable_now = connected && model().has_value();
    if (reachable_now != reachable) on_change_(reachable = reachable_now);
    tiers_.language_channel->WaitForStateChange(state, std::chrono::system_clock::now() + kGlance);
  }
}

void TierWatch::Ask() {
  AskLanguage();
  AskVision();
}

void TierWatch::AskVision() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kWatchPatience);
  v1::GetVisionModelResponse response;
  if (!tiers_.vision->GetVisionModel(&context, {}, &response).ok()) return;
  std::lock_guard lock(mutex_);
  vision_ = std::move(*response.mutable_model());
}

void TierWatch::AskLanguage() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kWatchPatience);
  v1::GetLanguageModelResponse response;
  if (!tiers_.language->GetLanguageModel(&context, {}, &response).ok()) return;
  std::lock_guard lock(mutex_);
  model_ = std::move(*response.mutable_model());
}

}  // namespace diptych::gateway
