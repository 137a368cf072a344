// The gateway as an object, so that tests start it in their own process.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/grpc/server.h"
#include "common/metrics/metrics.h"
#include "common/metrics/metrics_server.h"
#include "common/tracing/tracer.h"
#include "gateway/admission/admission.h"
#include "gateway/admission/api_key_file.h"
#include "gateway/gateway_metrics.h"
#include "gateway/http/http_api.h"
#include "gateway/http/http_server.h"
#include "gateway/image_urls/image_fetcher.h"
#include "gateway/kserve/infer_service.h"
#include "gateway/options.h"
#include "gateway/service.h"
#include "gateway/tiers/tier_monitor.h"
#include "gateway/tiers/tiers.h"

namespace diptych::gateway {

// Thread-safe.
class GatewayServer {
 public:
  // Serves at once; is ready, for health checks, while the language tier is reachable and does not hold another model
  // than the vision tier. INVALID_ARGUMENT if an address, a target or a TLS file is unusable. `on_first_ready` is
  // called once, on a thread of the server, when that is so for the first time.
  using OnReady = std::function<void(const GatewayServer& server, const v1::ModelDescription& model)>;
  static absl::StatusOr<std::unique_ptr<GatewayServer>> Start(const Options& options, OnReady on_first_ready = nullptr);

  // Ends calls that are still running.
  ~GatewayServer();

  // Shuts down: reports not ready, then refuses new calls with DRAINING and gives those in flight drain_timeout.
  void Drain();

  // What /metrics shows.
  std::string Metrics() { return registry_.Exposition(); }

  int port() const { return server_->port(); }
  // 0 if metrics are not shown.
  int metrics_port() const { return metrics_server_ != nullptr ? metrics_server_->port() : 0; }
  // 0 without options.http_listen.
  int http_port() const { return http_ == nullptr ? 0 : http_->port(); }

 private:
  GatewayServer(const Options& options, Tiers tiers, std::unique_ptr<ApiKeyFile> keys);
  // The functions of both must not be called after the gateway is gone.
  InferEnvironment EnvironmentOfInfer();
  HttpApi::Environment EnvironmentOfHttp(const Options& options);
  absl::Status StartHttp(const Options& options);
  // OK, or why the gateway is not ready for health checks; the first, as far as that is the tiers' doing.
  absl::Status TierReadiness() const;
  absl::Status Readiness() const;
  void OnTiersChanged(OnReady& on_first_ready);
  void OnHttpFailed(const HttpFailure& failure);

  // Destroyed from the last to the first: users come after what they use.
  MetricRegistry registry_;
  GatewayMetrics metrics_;
  const Tracer tracer_;
  Tiers tiers_;
  Callers callers_;
  std::unique_ptr<ImageFetcher> fetcher_;  // null: no image is fetched
  Admission admission_;
  std::unique_ptr<TierMonitor> monitor_;
  std::atomic<bool> ready_ = false;
  std::unique_ptr<GatewayService> service_;
  std::unique_ptr<InferService> infer_service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<MetricsServer> metrics_server_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace diptych::gateway
