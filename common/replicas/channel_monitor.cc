#include "common/replicas/channel_monitor.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <utility>

#include "common/grpc/steady_deadline.h"
#include "common/logging/log.h"
#include "common/process/catch_exceptions.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(50);  // also the longest that Stop waits for a quiet channel
constexpr auto kProbePatience = std::chrono::milliseconds(500);

}  // namespace

void ChannelMonitor::Start(Observer observer) {
  observer_ = std::move(observer);
  thread_ = std::thread([this] { Run(); });
}

void ChannelMonitor::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

bool ChannelMonitor::stopped() const {
  MutexLock lock(mutex_);
  return stopped_;
}

void ChannelMonitor::Run() {
  Reachability reachability;
  bool reachable = false;
  while (!stopped()) {
    CatchInThread("the monitor of a tier", [&] { Round(reachability, reachable); });
  }
}

void ChannelMonitor::Round(Reachability& reachability, bool& reachable) {
  const grpc_connectivity_state state = tier_.replicas->all()->GetState(/*try_to_connect=*/true);
  if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) waker_.Wake();
  tier_.replicas->LookAround(SteadyClock::now());
  const Reachability::State seen = Look(state);
  const bool reachable_now = seen == Reachability::State::kReachable;
  if (reachable_now != reachable && observer_.on_change) observer_.on_change(reachable_now);
  reachable = reachable_now;
  Log(reachability.Observe(seen, SteadyClock::now()));  // may take a moment
  tier_.replicas->all()->WaitForStateChange(state, SteadyClock::now() + kGlance);
}

Reachability::State ChannelMonitor::Look(grpc_connectivity_state state) const {
  switch (state) {
    case GRPC_CHANNEL_READY:
      if (observer_.confirm && !observer_.confirm()) return Reachability::State::kConnecting;
      return Reachability::State::kReachable;
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
    case GRPC_CHANNEL_SHUTDOWN:
      return Reachability::State::kUnreachable;
    default:
      return Reachability::State::kConnecting;
  }
}

void ChannelMonitor::Log(Reachability::Say say) const {
  switch (say) {
    case Reachability::Say::kNothing:
      return;
    case Reachability::Say::kReachable:
      return spdlog::info("the {} tier is reachable at {}", tier_.name, tier_.target);
    case Reachability::Say::kUnreachable:
      return spdlog::warn("cannot reach the {} tier at {} (--{}): {}; trying again until it is there", tier_.name,
                          tier_.target, tier_.flag, WhyUnreachable());
    case Reachability::Say::kStillUnreachable:
      return spdlog::warn("still cannot reach the {} tier at {} (--{}): {}", tier_.name, tier_.target, tier_.flag,
                          WhyUnreachable());
  }
}

std::string ChannelMonitor::WhyUnreachable() const {
  grpc::ClientContext context;
  context.set_deadline(SteadyClock::now() + kProbePatience);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = grpc::health::v1::Health::NewStub(tier_.replicas->all())->Check(&context, {}, &response);
  if (status.ok()) return "it answers, but does not serve yet";
  return status.error_message().empty() ? "it does not answer" : status.error_message();
}

}  // namespace diptych
