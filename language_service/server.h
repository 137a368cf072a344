// The language service as a whole: model, engine, way to the vision tier and RPC surface, put together.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "absl/status/statusor.h"
#include "common/containers/byte_budget.h"
#include "common/grpc/call_gate.h"
#include "common/grpc/channel.h"
#include "common/grpc/server.h"
#include "common/metrics/metrics.h"
#include "common/metrics/metrics_server.h"
#include "common/replicas/channel_monitor.h"
#include "common/tracing/tracer.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "language_service/engine/engine.h"
#include "language_service/images/image_store.h"
#include "language_service/language_metrics.h"
#include "language_service/options.h"
#include "language_service/served_model.h"
#include "language_service/service.h"

namespace diptych::language {

// A question's way: LanguageService -> GenerateCall (-> ImageCollector -> ImageStore) -> LanguageEngine -> TokenStream
// -> GenerateCall. Thread-safe.
class LanguageServer {
 public:
  // Loads the model, then listens: a port that answers belongs to a service that is ready. The vision tier may be down;
  // questions without an image never need it. The error is one line that names the flag, file or tensor at fault.
  static absl::StatusOr<std::unique_ptr<LanguageServer>> Start(const LanguageOptions& options);
  // The same with a model that is there already; options.model, device and dtype are not read.
  static absl::StatusOr<std::unique_ptr<LanguageServer>> Start(const LanguageOptions& options,
                                                               ServedLanguageModel model);

  // Ends calls that are still running.
  ~LanguageServer();

  // As GrpcServer::Drain.
  void Drain() { server_->Drain(&gate_); }

  // UNAVAILABLE with the cause once the engine has failed: every pass fails, or one does not end.
  absl::Status health() const { return engine_.health(); }
  // Health checks say NOT_SERVING from now on, those of "readiness" why.
  void SetUnready(const absl::Status& why) { server_->SetReady(why); }

  int port() const { return server_->port(); }
  // 0 if metrics are not shown.
  int metrics_port() const { return metrics_server_ != nullptr ? metrics_server_->port() : 0; }
  const v1::ModelDescription& model() const { return model_.description; }
  int calls_inside() const { return gate_.inside(); }
  EngineStats engine_stats() const { return engine_.stats(); }
  int64_t bytes_inside() const { return memory_.taken(); }
  ImageStoreStats image_stats() const { return images_.stats(); }
  LanguageStats stats() const;

 private:
  LanguageServer(const LanguageOptions& options, ServedLanguageModel model, blip2::KvPool pool,
                 const std::shared_ptr<ReplicaChannels>& vision);

  // Destroyed from the last to the first: a call needs everything that stands before `server_`, and a reader of metrics
  // what they are read from.
  const ServedLanguageModel model_;
  MetricRegistry registry_;
  LanguageMetrics metrics_;
  const Tracer tracer_;
  CallGate gate_;
  ByteBudget memory_;
  ReplicaStubs<v1::VisionService> vision_;
  ChannelWaker vision_waker_;
  const VisionTier vision_tier_;
  LanguageEngine engine_;
  ImageStore images_;
  LanguageService rpc_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<MetricsServer> metrics_server_;
  ChannelMonitor vision_monitor_;
};

}  // namespace diptych::language
