#include "gateway/server.h"

#include <utility>

#include "absl/time/time.h"
#include "common/log.h"
#include "common/status.h"

namespace diptych::gateway {

GatewayServer::GatewayServer(const Options& options, Tiers tiers)
    : metrics_(registry_),
      tiers_(std::move(tiers)),
      admission_(options.limits, options.max_inflight, options.max_inflight_bytes) {
  auto running = registry_.AddGauge("diptych_requests_running", "Questions in flight.");
  auto bytes = registry_.AddGauge("diptych_inflight_bytes", "Memory set aside for the requests in flight.");
  registry_.OnCollect([this, running, bytes]() mutable {
    running.Set(admission_.gate().inside());
    bytes.Set(static_cast<double>(admission_.memory().taken()));
  });
}

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Start(const Options& options, OnReady on_first_ready) {
  DIPTYCH_ASSIGN_OR_RETURN(Tiers tiers, OpenTiers(options));
  auto self = std::unique_ptr<GatewayServer>(new GatewayServer(options, std::move(tiers)));
  self->watch_ = std::make_unique<TierWatch>(self->tiers_);
  self->service_ = std::make_unique<GatewayService>(self->tiers_, self->admission_, *self->watch_, self->metrics_,
                                                    absl::ToChronoNanoseconds(options.request_timeout));
  const ServerOptions server{.service_name = v1::GatewayService::service_full_name(),
                             .listen = options.listen,
                             .tls = options.tls,
                             .max_receive_bytes = static_cast<int>(options.limits.MaxMessageBytes()),
                             .drain_delay = options.drain_delay,
                             .drain_timeout = options.drain_timeout};
  DIPTYCH_ASSIGN_OR_RETURN(self->server_, GrpcServer::Start(server, self->service_.get()));
  if (!options.metrics_listen.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(self->metrics_server_, MetricsServer::Start(options.metrics_listen, self->registry_));
  }
  self->watch_->Start([gateway = self.get(), on_first_ready = std::move(on_first_ready)](bool reachable) mutable {
    gateway->server_->SetReady(reachable);
    gateway->metrics_.language_reachable.Set(reachable ? 1 : 0);
    spdlog::info("the language tier is {}", reachable ? "reachable" : "not reachable");
    if (reachable && on_first_ready) std::exchange(on_first_ready, nullptr)(*gateway, *gateway->watch_->model());
  });
  return self;
}

GatewayServer::~GatewayServer() {
  if (watch_ != nullptr) watch_->Stop();
}

void GatewayServer::Drain() {
  watch_->Stop();
  server_->Drain(&admission_.gate());
}

}  // namespace diptych::gateway
