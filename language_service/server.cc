#include "language_service/server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/channel.h"
#include "common/logging/load_progress.h"
#include "common/metrics/process_metrics.h"
#include "common/network/listen_address.h"
#include "common/process/catch_exceptions.h"
#include "common/process/temporary_thread.h"
#include "common/status.h"
#include "common/tiers/visual_tokens.h"
#include "diptych/v1/language.grpc.pb.h"
#include "language_service/engine/kv_cache_size.h"
#include "language_service/request_memory.h"

namespace diptych::language {
namespace {

constexpr int kMaxVisionMessageBytes = 2 * kMaxChunkBytes;

// Unset in a request: the vision tier's own.
absl::StatusOr<v1::NumberType> ParseWireDType(std::string_view word) {
  if (word == "auto") return v1::NUMBER_TYPE_UNSPECIFIED;
  if (word == "float32") return v1::NUMBER_TYPE_FLOAT32;
  if (word == "bfloat16") return v1::NUMBER_TYPE_BFLOAT16;
  if (word == "float16") return v1::NUMBER_TYPE_FLOAT16;
  if (word == "int8") return v1::NUMBER_TYPE_INT8;
  return absl::InvalidArgumentError("--wire_dtype takes auto, float32, bfloat16, float16 or int8");
}

absl::Status CheckOptions(const LanguageOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("listen", options.listen));
  if (!options.metrics_listen.empty()) {
    DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("metrics_listen", options.metrics_listen));
  }
  if (const absl::Status target = CheckTargetPorts(options.vision_target); !target.ok()) {
    return Annotate(target, "--vision_target");
  }
  if (!(options.memory_fraction > 0 && options.memory_fraction <= 1)) {
    return absl::InvalidArgumentError("--memory_fraction takes more than 0, at most 1");
  }
  DIPTYCH_RETURN_IF_ERROR(ParseWireDType(options.wire_dtype).status());
  if (options.queue_limit < 1) return absl::InvalidArgumentError("--queue_limit takes 1 or more");
  if (options.max_batch < 1) return absl::InvalidArgumentError("--max_batch takes 1 or more");
  if (options.max_batched_tokens < std::max(options.max_batch, kMaxBeams)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_batched_tokens takes ", kMaxBeams, " or more, and at least --max_batch"));
  }
  DIPTYCH_RETURN_IF_ERROR(CheckLimits(options.limits.image));
  DIPTYCH_RETURN_IF_ERROR(CheckTraceOptions(options.tracing));
  if (options.cache_bytes < 0) return absl::InvalidArgumentError("--cache_bytes takes 0 or more");
  return absl::OkStatus();
}

// Has decode steps recorded, or says in the log why not.
void RecordSteps(const ServedLanguageModel& model, blip2::KvPool& pool) {
  const absl::Status status = CatchExceptions("recording decode steps", [&] {
    DIPTYCH_ASSIGN_OR_RETURN(blip2::RecordStep recorder,
                             blip2::MakeCudaRecorder(c10::Device(model.description.device())));
    return model.record_steps(std::move(recorder), LogNoCudaGraphs, pool);
  });
  if (!status.ok()) LogNoCudaGraphs(std::string(status.message()));
}

EngineOptions ToEngineOptions(const LanguageOptions& options) {
  const auto queue_limit = static_cast<size_t>(options.queue_limit);
  return {.queue_limit = queue_limit,
          .projection_limit = queue_limit * kMaxImages,
          .max_batch = options.max_batch,
          .max_batched_tokens = options.max_batched_tokens,
          .max_unread_tokens = options.max_unread_tokens,
          .reader_patience = absl::ToChronoNanoseconds(options.reader_patience),
          .longest_pass = absl::ToChronoNanoseconds(options.longest_pass)};
}

absl::Status CheckMemory(const LanguageOptions& options, const blip2::Config& config) {
  const int64_t least = LeastInflightBytes(options.limits, config);
  if (options.max_inflight_bytes >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--max_inflight_bytes takes ", least, " or more, which one question with the largest images needs"));
}

ImageStore::Steps StepsWith(const VisionTier* vision, LanguageEngine* engine, PullMetrics* metrics) {
  return {
      .pull = [vision, metrics](std::shared_ptr<const ImageRequest> request, std::shared_ptr<const CallContext> call,
                                ImagePull::Done done) -> std::function<void()> {
        const auto pull =
            std::make_shared<ImagePull>(vision, std::move(request), std::move(call), metrics, std::move(done));
        pull->Start();
        return [pull] { pull->Cancel(); };
      },
      .project =
          [engine](VisualTokens tokens, std::string key, bool with_attention, LanguageEngine::Projected done) {
            engine->Project(std::move(tokens), std::move(key), with_attention, std::move(done));
          }};
}

ServedLanguageModel WithLimits(ServedLanguageModel model, const ImageLimits& limits) {
  model.description.set_max_image_bytes(limits.max_bytes);
  model.description.set_max_image_pixels(limits.max_pixels);
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageServer>> LanguageServer::Start(const LanguageOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  DIPTYCH_ASSIGN_OR_RETURN(ServedLanguageModel model, RunOnTemporaryThread([&] { return LoadLanguageModel(options); }));
  return Start(options, std::move(model));
}

absl::StatusOr<std::unique_ptr<LanguageServer>> LanguageServer::Start(const LanguageOptions& options,
                                                                      ServedLanguageModel model) {
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  DIPTYCH_RETURN_IF_ERROR(CheckMemory(options, model.config));
  DIPTYCH_ASSIGN_OR_RETURN(const auto vision,
                           ReplicaChannels::Open({.target = options.vision_target,
                                                  .service_name = v1::VisionService::service_full_name(),
                                                  .tls = options.tls,
                                                  .max_receive_bytes = kMaxVisionMessageBytes},
                                                 "vision", options.affinity, tier_defaults::kVisionCallsAtEase));
  DIPTYCH_ASSIGN_OR_RETURN(blip2::KvPool pool, AllocateKvCache(model, options.kv_cache_bytes, options.memory_limit,
                                                               options.memory_fraction));
  if (options.cuda_graphs) RecordSteps(model, pool);
  LogCapacity(absl::StrCat(options.max_batch, " sequences and ", options.max_batched_tokens,
                           " tokens a pass, keys and values of ", pool.blocks * pool.block_tokens, " tokens"));
  auto self = std::unique_ptr<LanguageServer>(new LanguageServer(options, std::move(model), std::move(pool), vision));
  const ServerOptions server{.service_name = v1::LanguageService::service_full_name(),
                             .listen = options.listen,
                             .tls = options.tls,
                             .max_receive_bytes = static_cast<int>(options.limits.MaxMessageBytes()),
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
  self->vision_monitor_.Start();
  return self;
}

LanguageServer::LanguageServer(const LanguageOptions& options, ServedLanguageModel model, blip2::KvPool pool,
                               const std::shared_ptr<ReplicaChannels>& vision)
    : model_(WithLimits(std::move(model), options.limits.image)),
      metrics_(registry_, model_.description, {.blocks = pool.blocks, .block_tokens = pool.block_tokens},
               options.vllm_metric_names),
      tracer_(options.tracing, "language", registry_),
      gate_(options.queue_limit),
      memory_(options.max_inflight_bytes),
      vision_(vision),
      vision_waker_(vision->all()),
      vision_tier_{.replicas = &vision_, .waker = &vision_waker_, .tracer = &tracer_, .wait = options.wait_for_vision},
      engine_(model_, std::move(pool), ToEngineOptions(options)),
      images_(StepsWith(&vision_tier_, &engine_, &metrics_.pulls), options.cache_bytes),
      rpc_(GenerateContext{.model = &model_,
                           .limits = options.limits,
                           .longest_call = absl::ToChronoNanoseconds(options.longest_call),
                           .wire_dtype = *ParseWireDType(options.wire_dtype),
                           .gate = &gate_,
                           .memory = &memory_,
                           .images = &images_,
                           .engine = &engine_,
                           .metrics = &metrics_,
                           .tracer = &tracer_},
           [this] { return stats(); }),
      vision_monitor_(
          {.name = "vision", .target = options.vision_target, .flag = "vision_target", .replicas = vision}) {
  vision_.channels()->AddMetrics(registry_);
  registry_.OnCollect([this] { metrics_.Refresh(stats()); });
}

LanguageServer::~LanguageServer() = default;

LanguageStats LanguageServer::stats() const {
  return {.engine = engine_.stats(),
          .images = images_.stats(),
          .inflight_bytes = memory_.taken(),
          .vision_replicas = static_cast<int64_t>(vision_.channels()->known())};
}

}  // namespace diptych::language
