#include "gateway/server.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "common/logging/log.h"
#include "common/logging/request_log.h"
#include "common/metrics/process_metrics.h"
#include "common/network/http_host.h"
#include "common/status.h"
#include "gateway/http/cors.h"
#include "gateway/http/http_api.h"
#include "gateway/http/openai_reply.h"
#include "inference/grpc_service.grpc.pb.h"

namespace diptych::gateway {
namespace {

constexpr int kFetchThreads = 8;
constexpr absl::Duration kLastHttpWrites = absl::Seconds(5);

std::unique_ptr<ImageFetcher> MakeFetcher(const Options& options) {
  if (!options.allow_image_urls) return nullptr;
  FetchRules rules = options.fetch;
  rules.max_bytes = options.limits.image.max_bytes;
  return std::make_unique<ImageFetcher>(std::move(rules), kFetchThreads, /*waiting=*/options.max_inflight);
}

ServerOptions ServerOptionsOf(const Options& options) {
  return {.service_name = v1::GatewayService::service_full_name(),
          .more_services = {inference::GRPCInferenceService::service_full_name()},
          .listen = options.listen,
          .tls = options.tls,
          .max_receive_bytes = static_cast<int>(options.limits.MaxMessageBytes()),
          .memory_bytes = std::max(ServerOptions().memory_bytes, options.max_inflight_bytes),
          .most_calls = 2 * options.max_inflight,
          .max_connection_grace = options.request_timeout + absl::Minutes(1),
          .drain_delay = options.drain_delay,
          .drain_timeout = options.drain_timeout};
}

HttpOptions HttpOptionsOf(const Options& options) {
  // Base64 makes four bytes of three.
  const int64_t body_bytes = options.limits.MaxMessageBytes() / 3 * 4 + (1 << 20);
  return {.listen = options.http_listen,
          .hosts = options.http_hosts,
          .tls = options.tls,
          .cors_origins = options.cors_origins,
          .max_body_bytes = body_bytes,
          .max_bodies_bytes = std::max(2 * body_bytes, options.max_inflight_bytes)};
}

}  // namespace

GatewayServer::GatewayServer(const Options& options, Tiers tiers, std::unique_ptr<ApiKeyFile> keys)
    : metrics_(registry_),
      tracer_(options.tracing, "gateway", registry_),
      tiers_(std::move(tiers)),
      callers_(std::move(keys)),
      fetcher_(MakeFetcher(options)),
      // If all are one caller, waiting here would only hide that the server is full.
      admission_(
          {.limits = options.limits,
           .model_aliases = options.served_model_names,
           .max_inflight = options.max_inflight,
           .max_inflight_bytes = options.max_inflight_bytes,
           .max_waiting = callers_.need_keys() ? options.max_inflight : 0,
           .shared_cache = options.shared_cache},
          callers_, fetcher_.get(),
          [this] {
            const auto model = monitor_->model();
            return model ? model->name() : std::string();
          },
          [this](ImageLimits& limits) { monitor_->Narrow(limits); }) {
  auto running = registry_.AddGauge("diptych_requests_running", "Questions in flight.");
  auto waiting = registry_.AddGauge("diptych_requests_waiting", "Questions that wait for a place.");
  auto bytes = registry_.AddGauge("diptych_inflight_bytes", "Memory set aside for the requests in flight.");
  auto retries = registry_.AddGauge("diptych_retry_budget", "Calls to the tiers that may be repeated now.");
  tiers_.language->channels()->AddMetrics(registry_);
  tiers_.vision->channels()->AddMetrics(registry_);
  const auto add_known = [this](const char* tier) {
    return registry_.AddGauge(kKnownReplicas, kKnownReplicasHelp, {{"tier", tier}});
  };
  auto language = add_known("language"), vision = add_known("vision");
  registry_.OnCollect([this, running, waiting, bytes, retries, language, vision]() mutable {
    language.Set(static_cast<double>(tiers_.language->channels()->known()));
    vision.Set(static_cast<double>(tiers_.vision->channels()->known()));
    retries.Set(tiers_.retries->left(SteadyClock::now()));
    running.Set(admission_.gate().inside());
    waiting.Set(admission_.gate().waiting());
    bytes.Set(static_cast<double>(admission_.memory().taken()));
  });
}

InferEnvironment GatewayServer::EnvironmentOfInfer() {
  return {.identify =
              [this](const grpc::ServerContextBase& context) {
                const auto caller = callers_.Identify(context);
                auto message = admission_.pending_messages().Begin(caller.ok() ? *caller : nullptr);
                return InferCaller{
                    .status = caller.status(), .patience = message.patience, .place = std::move(message.place)};
              },
          .model = [this] { return monitor_->model(); },
          .model_names = [this] { return admission_.model_names(); },
          .ready = [this] { return ready_.load(); }};
}

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Start(const Options& options, OnReady on_first_ready) {
  DIPTYCH_RETURN_IF_ERROR(CheckTraceOptions(options.tracing));
  DIPTYCH_ASSIGN_OR_RETURN(Tiers tiers, OpenTiers(options));
  std::unique_ptr<ApiKeyFile> keys;
  if (!options.api_keys_file.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(keys, ApiKeyFile::Open(options.api_keys_file));
  }
  auto self = std::unique_ptr<GatewayServer>(new GatewayServer(options, std::move(tiers), std::move(keys)));
  self->monitor_ =
      std::make_unique<TierMonitor>(self->tiers_, options.language_target, options.vision_target, options.limits.image);
  self->service_ = std::make_unique<GatewayService>(self->tiers_, self->admission_, *self->monitor_, self->metrics_,
                                                    self->tracer_, absl::ToChronoNanoseconds(options.request_timeout));
  self->infer_service_ = std::make_unique<InferService>(self->EnvironmentOfInfer());
  const auto connect = [&](GrpcServer& server) { self->infer_service_->Connect(server.InProcessChannel()); };
  DIPTYCH_ASSIGN_OR_RETURN(
      self->server_,
      GrpcServer::Start(ServerOptionsOf(options), {self->service_.get(), self->infer_service_.get()}, connect));
  self->server_->SetReady(self->TierReadiness());
  const auto readiness = [gateway = self.get()] { return gateway->Readiness(); };
  AddReadiness(self->registry_, readiness);
  if (!options.metrics_listen.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(self->metrics_server_,
                             MetricsServer::Start(options.metrics_listen, self->registry_, readiness));
  }
  if (!options.http_listen.empty()) DIPTYCH_RETURN_IF_ERROR(self->StartHttp(options));
  self->monitor_->Start([gateway = self.get(), on_first_ready = std::move(on_first_ready)]() mutable {
    gateway->OnTiersChanged(on_first_ready);
  });
  return self;
}

void GatewayServer::OnTiersChanged(OnReady& on_first_ready) {
  const bool reachable = monitor_->language_reachable();
  metrics_.language_reachable.Set(reachable ? 1 : 0);
  const absl::Status tiers = TierReadiness();
  ready_ = tiers.ok();
  server_->SetReady(tiers);
  if (ready_ && on_first_ready) std::exchange(on_first_ready, nullptr)(*this, *monitor_->model());
}

absl::Status GatewayServer::TierReadiness() const {
  if (monitor_->language_reachable()) return monitor_->agreement();
  return MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "the language tier is not reachable");
}

absl::Status GatewayServer::Readiness() const {
  DIPTYCH_RETURN_IF_ERROR(TierReadiness());
  return server_->readiness();
}

HttpApi::Environment GatewayServer::EnvironmentOfHttp(const Options& options) {
  const auto channel = server_->InProcessChannel();
  return {.channel = channel,
          .gateway = v1::GatewayService::NewStub(channel),
          .identify = [this](std::string_view authorization) -> absl::StatusOr<std::string> {
            DIPTYCH_ASSIGN_OR_RETURN(const Caller caller, callers_.Identify(authorization));
            return caller == nullptr ? "" : caller->name;
          },
          .needs_keys = callers_.need_keys(),
          .system_prompt = options.system_prompt,
          .max_message_bytes = static_cast<size_t>(options.limits.MaxMessageBytes()),
          .max_images_bytes = static_cast<size_t>(options.limits.MaxTotalImageBytes()),
          .model_names = [this] { return admission_.model_names(); },
          .check_model = [this](const std::string& name) { return admission_.CheckModel(name); },
          .open_place =
              [this](int questions) {
                const auto place = admission_.shared_places().Open(questions);
                return std::shared_ptr<const std::string>(place, &place->name());
              },
          .ready = [this] { return Readiness(); },
          .metrics = [this] { return registry_.Exposition(); }};
}

absl::Status GatewayServer::StartHttp(const Options& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckOrigins(options.cors_origins));
  DIPTYCH_RETURN_IF_ERROR(CheckAllowedHosts(options.http_hosts));
  HttpOptions http = HttpOptionsOf(options);
  http.on_failed = [this](const HttpFailure& failure) { OnHttpFailed(failure); };
  const auto api = std::make_shared<const HttpApi>(EnvironmentOfHttp(options));
  const auto handle = [api](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
    api->Handle(std::move(request), std::move(exchange));
  };
  const auto check = [api](const HttpRequest& head) { return api->Check(head); };
  DIPTYCH_ASSIGN_OR_RETURN(http_, HttpServer::Start(http, handle, PlainErrorReply, check));
  spdlog::info("serving HTTP on port {}{}", http_->port(), options.tls.cert_file.empty() ? "" : ", in TLS");
  return absl::OkStatus();
}

void GatewayServer::OnHttpFailed(const HttpFailure& failure) {
  metrics_.HttpRefused(failure.status);
  LogEnded({.method = "http",
            .request_id = failure.request_id,
            .http_status = failure.status,
            .http_reason = failure.reason,
            .duration = failure.duration,
            .key = failure.caller});
}

GatewayServer::~GatewayServer() {
  if (monitor_ != nullptr) monitor_->Stop();
}

void GatewayServer::Drain() {
  monitor_->Stop();
  ready_ = false;
  // HTTP's own calls are in this process and would break when the server shuts down, their last message on its way.
  server_->Drain(&admission_.gate().door(), [this] {
    if (http_ != nullptr) http_->Drain(kLastHttpWrites);
  });
}

}  // namespace diptych::gateway
