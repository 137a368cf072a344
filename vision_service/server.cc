#include "vision_service/server.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging/load_progress.h"
#include "common/metrics/process_metrics.h"
#include "common/network/listen_address.h"
#include "common/process/temporary_thread.h"
#include "common/status.h"
#include "diptych/v1/vision.grpc.pb.h"

namespace diptych::vision {
namespace {

// Room above the largest image, so that one which is somewhat too large is refused with its reason.
constexpr int64_t kMessageRoom = 8 << 20;  // bytes

// Pixel values and visual tokens of the largest image, rounded up: 1024 pixels a side, 1408 float32 a token.
constexpr int64_t kMaxTensorBytes = 64 << 20;

absl::Status CheckOptions(const VisionOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("listen", options.listen));
  if (!options.metrics_listen.empty()) {
    DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("metrics_listen", options.metrics_listen));
  }
  if (!(options.memory_fraction > 0 && options.memory_fraction <= 1)) {
    return absl::InvalidArgumentError("--memory_fraction takes more than 0, at most 1");
  }
  if (options.queue_limit < 1) return absl::InvalidArgumentError("--queue_limit takes 1 or more");
  if (options.image_workers < 1 || options.image_workers > 256) {
    return absl::InvalidArgumentError("--image_workers takes 1 to 256");
  }
  if (options.image_decode != "exact" && options.image_decode != "scaled") {
    return absl::InvalidArgumentError("--image_decode takes exact or scaled");
  }
  if (options.max_batch < 0 || options.max_batch > 256) return absl::InvalidArgumentError("--max_batch takes 0 to 256");
  DIPTYCH_RETURN_IF_ERROR(CheckLimits(options.image_limits));
  DIPTYCH_RETURN_IF_ERROR(CheckTraceOptions(options.tracing));
  if (options.cache_bytes < 0) return absl::InvalidArgumentError("--cache_bytes takes 0 or more");
  // Memory of one image: its file twice while it is read, or once with its pixel values and visual tokens.
  const int64_t least = 2 * (options.image_limits.max_bytes + kMessageRoom) + kMaxTensorBytes;
  if (options.max_inflight_bytes < least) {
    return absl::InvalidArgumentError(absl::StrCat("--max_inflight_bytes takes ", least, " or more"));
  }
  return absl::OkStatus();
}

ServedVisionModel WithLimits(ServedVisionModel model, const ImageLimits& limits) {
  model.description.set_max_image_bytes(limits.max_bytes);
  model.description.set_max_image_pixels(limits.max_pixels);
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VisionServer>> VisionServer::Start(const VisionOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  DIPTYCH_ASSIGN_OR_RETURN(ServedVisionModel model, RunOnTemporaryThread([&] { return LoadVisionModel(options); }));
  return Start(options, std::move(model));
}

absl::StatusOr<std::unique_ptr<VisionServer>> VisionServer::Start(const VisionOptions& options,
                                                                  ServedVisionModel model) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  LogCapacity(absl::StrCat(options.MaxBatch(model.description.visual_tokens()), " images a pass"));
  auto self = std::unique_ptr<VisionServer>(new VisionServer(options, std::move(model)));
  const ServerOptions server{.service_name = v1::VisionService::service_full_name(),
                             .listen = options.listen,
                             .tls = options.tls,
                             .max_receive_bytes = static_cast<int>(options.image_limits.max_bytes + kMessageRoom),
                             .most_calls = options.queue_limit,
                             .max_connection_age = options.max_connection_age,
                             .drain_delay = options.drain_delay,
                             .drain_timeout = options.drain_timeout};
  DIPTYCH_ASSIGN_OR_RETURN(self->server_, GrpcServer::Start(server, {&self->rpc_}));
  const auto readiness = [server = self->server_.get()] { return server->readiness(); };
  AddReadiness(self->registry_, readiness);
  if (!options.metrics_listen.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(self->metrics_server_,
                             MetricsServer::Start(options.metrics_listen, self->registry_, readiness));
  }
  self->server_->SetReady(absl::OkStatus());
  return self;
}

VisionServer::VisionServer(const VisionOptions& options, ServedVisionModel model)
    : model_(WithLimits(std::move(model), options.image_limits)),
      metrics_(registry_, model_.description),
      tracer_(options.tracing, "vision", registry_),
      gate_(options.queue_limit),
      encoder_(options, model_),
      places_(&gate_, &encoder_),
      rpc_(EncodeContext{.model = &model_.description,
                         .limits = options.image_limits,
                         .longest_call = absl::ToChronoNanoseconds(options.longest_call),
                         .places = &places_,
                         .encoder = &encoder_,
                         .metrics = &metrics_,
                         .tracer = &tracer_},
           [this] { return stats(); }) {
  registry_.OnCollect([this] { metrics_.Refresh(stats(), SteadyClock::now()); });
}

VisionServer::~VisionServer() = default;

VisionStats VisionServer::stats() const {
  VisionStats stats = encoder_.stats();
  stats.calls_inside = gate_.inside();
  return stats;
}

}  // namespace diptych::vision
