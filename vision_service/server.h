// The vision service as a whole: model, threads and RPC surface, put together.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/grpc/call_gate.h"
#include "common/grpc/server.h"
#include "common/metrics/metrics.h"
#include "common/metrics/metrics_server.h"
#include "common/tracing/tracer.h"
#include "vision_service/encoder.h"
#include "vision_service/options.h"
#include "vision_service/served_model.h"
#include "vision_service/service.h"
#include "vision_service/stats.h"
#include "vision_service/vision_metrics.h"

namespace diptych::vision {

// An image's way: VisionService -> EncodeCall -> Encoder -> ImageWorkers -> VisionEngine -> EncodeCall. Thread-safe.
class VisionServer {
 public:
  // Loads the model, then listens: a port that answers belongs to a service that is ready. The error is one line
  // that names the flag, file or tensor at fault.
  static absl::StatusOr<std::unique_ptr<VisionServer>> Start(const VisionOptions& options);
  // The same with a model that is there already; options.model, device and dtype are not read.
  static absl::StatusOr<std::unique_ptr<VisionServer>> Start(const VisionOptions& options, ServedVisionModel model);

  // Ends calls that are still running.
  ~VisionServer();

  // As GrpcServer::Drain.
  void Drain() { server_->Drain(&gate_); }

  // UNAVAILABLE with the cause once the engine has failed: every pass fails, or one does not end.
  absl::Status health() const { return encoder_.health(); }
  // Health checks say NOT_SERVING from now on, those of "readiness" why.
  void SetUnready(const absl::Status& why) { server_->SetReady(why); }

  int port() const { return server_->port(); }
  // 0 if metrics are not shown.
  int metrics_port() const { return metrics_server_ != nullptr ? metrics_server_->port() : 0; }
  const v1::ModelDescription& model() const { return model_.description; }
  int calls_inside() const { return gate_.inside(); }
  VisionStats stats() const;

 private:
  VisionServer(const VisionOptions& options, ServedVisionModel model);

  // Destroyed from the last to the first: a call needs everything that stands before `server_`, and a reader of metrics
  // what they are read from.
  const ServedVisionModel model_;
  MetricRegistry registry_;
  VisionMetrics metrics_;
  const Tracer tracer_;
  CallGate gate_;
  Encoder encoder_;
  FairPlaces places_;
  VisionService rpc_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<MetricsServer> metrics_server_;
};

}  // namespace diptych::vision
