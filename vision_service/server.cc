#include "vision_service/server.h"

#include <utility>

#include "common/status.h"

namespace diptych {
namespace {

// Room above the largest picture, so that one which is somewhat too large is refused with its reason.
constexpr int64_t kMessageRoom = 8 << 20;  // bytes

ImageWorkers::Options WorkerOptions(const VisionOptions& options, const ServedVisionModel& model) {
  return {.threads = options.image_workers,
          .queue_limit = options.queue_limit,
          .limits = options.image_limits,
          .image_processor = model.image_processor,
          .fingerprint = model.description.fingerprint()};
}

absl::Status CheckOptions(const VisionOptions& options) {
  if (options.queue_limit < 1) return absl::InvalidArgumentError("--queue_limit takes 1 or more");
  if (options.image_workers < 1 || options.image_workers > 256) {
    return absl::InvalidArgumentError("--image_workers takes 1 to 256");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<VisionServer>> VisionServer::Start(const VisionOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  DIPTYCH_ASSIGN_OR_RETURN(ServedVisionModel model, LoadVisionModel(options));
  return Start(options, std::move(model));
}

absl::StatusOr<std::unique_ptr<VisionServer>> VisionServer::Start(const VisionOptions& options,
                                                                  ServedVisionModel model) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  auto self = std::unique_ptr<VisionServer>(new VisionServer(options, std::move(model)));
  const ServerOptions server{.service_name = v1::VisionService::service_full_name(),
                             .listen = options.listen,
                             .tls = options.tls,
                             .max_receive_bytes = static_cast<int>(options.image_limits.max_bytes + kMessageRoom),
                             .drain_delay = options.drain_delay,
                             .drain_timeout = options.drain_timeout};
  DIPTYCH_ASSIGN_OR_RETURN(self->server_, GrpcServer::Start(server, &self->rpc_));
  self->server_->SetReady(true);
  return self;
}

VisionServer::VisionServer(const VisionOptions& options, ServedVisionModel model)
    : model_(std::move(model)),
      gate_(options.queue_limit),
      engine_(model_.encode, options.queue_limit),
      workers_(WorkerOptions(options, model_), [this](EncodeJob job) { engine_.Submit(std::move(job)); }),
      rpc_(EncodeContext{.model = &model_.description,
                         .limits = options.image_limits,
                         .longest_call = absl::ToChronoNanoseconds(options.longest_call),
                         .gate = &gate_,
                         .workers = &workers_}) {}

VisionServer::~VisionServer() = default;

}  // namespace diptych
