#include "gateway/tiers/tier_watch.h"

#include <chrono>
#include <utility>

namespace diptych::gateway {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(50);  // also the longest that Stop waits
constexpr auto kRefresh = std::chrono::seconds(5);       // between two descriptions
constexpr auto kWatchPatience = std::chrono::milliseconds(900);

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
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kWatchPatience);
  v1::GetLanguageModelResponse response;
  if (!tiers_.language->GetLanguageModel(&context, {}, &response).ok()) return;
  std::lock_guard lock(mutex_);
  model_ = std::move(*response.mutable_model());
}

}  // namespace diptych::gateway
