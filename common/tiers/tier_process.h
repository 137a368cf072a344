// The common part of the two tiers' processes: most flags, start and drain. A target of its own:
// the flags are in every binary that links it.
#pragma once

#include <string>
#include <string_view>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "common/grpc/server.h"
#include "common/images/image_header.h"
#include "common/models/model_folder.h"
#include "common/process/process.h"
#include "common/process/shutdown_signal.h"
#include "common/status.h"
#include "common/steady_clock.h"
#include "common/text/byte_size.h"

ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, device);
ABSL_DECLARE_FLAG(std::string, dtype);
ABSL_DECLARE_FLAG(bool, cuda_graphs);
ABSL_DECLARE_FLAG(std::string, tls_cert);
ABSL_DECLARE_FLAG(std::string, tls_key);
ABSL_DECLARE_FLAG(std::string, tls_client_ca);
ABSL_DECLARE_FLAG(diptych::ByteSize, memory_limit);
ABSL_DECLARE_FLAG(int, threads);
ABSL_DECLARE_FLAG(int, queue_limit);
ABSL_DECLARE_FLAG(diptych::ByteSize, max_inflight_bytes);
ABSL_DECLARE_FLAG(diptych::ByteSize, max_image_bytes);
ABSL_DECLARE_FLAG(int64_t, max_image_pixels);
ABSL_DECLARE_FLAG(absl::Duration, max_connection_age);
ABSL_DECLARE_FLAG(absl::Duration, drain_delay);
ABSL_DECLARE_FLAG(absl::Duration, drain_timeout);
ABSL_DECLARE_FLAG(std::string, otlp_endpoint);
ABSL_DECLARE_FLAG(double, trace_sample_ratio);
ABSL_DECLARE_FLAG(std::string, log_level);
ABSL_DECLARE_FLAG(std::string, log_format);

namespace diptych {

// Keeps freed memory for the next pass; before any is taken. Else each of a pass' tensors, some megabytes, is given
// back to the system and its pages are made and cleared again: a tenth to a sixth of the processor time of an image in
// int8.
void KeepFreedMemory();

// `options` is VisionOptions or LanguageOptions: sets what the flags above say, apart from those of the log; the model
// as its folder. NOT_FOUND if there is no such model on this host.
template <typename Options>
absl::Status ReadTierFlags(Options& options) {
  DIPTYCH_ASSIGN_OR_RETURN(options.model, FindModelFolder(absl::GetFlag(FLAGS_model)));
  options.device = absl::GetFlag(FLAGS_device);
  options.dtype = absl::GetFlag(FLAGS_dtype);
  options.cuda_graphs = absl::GetFlag(FLAGS_cuda_graphs);
  if (options.cuda_graphs && options.device == "cpu") {
    return absl::InvalidArgumentError("--cuda_graphs takes --device=cuda");
  }
  options.tls = {.cert_file = absl::GetFlag(FLAGS_tls_cert),
                 .key_file = absl::GetFlag(FLAGS_tls_key),
                 .client_ca_file = absl::GetFlag(FLAGS_tls_client_ca)};
  options.tracing = {.otlp_endpoint = absl::GetFlag(FLAGS_otlp_endpoint),
                     .sample_ratio = absl::GetFlag(FLAGS_trace_sample_ratio)};
  options.memory_limit = absl::GetFlag(FLAGS_memory_limit);
  if (options.memory_limit < 0) return absl::InvalidArgumentError("--memory_limit takes 0 or more");
  options.threads = absl::GetFlag(FLAGS_threads);
  options.queue_limit = absl::GetFlag(FLAGS_queue_limit);
  options.max_inflight_bytes = absl::GetFlag(FLAGS_max_inflight_bytes);
  ImageLimits& image = options.ImageBounds();
  image.max_bytes = absl::GetFlag(FLAGS_max_image_bytes);
  image.max_pixels = absl::GetFlag(FLAGS_max_image_pixels);
  options.max_connection_age = absl::GetFlag(FLAGS_max_connection_age);
  if (options.max_connection_age < absl::Seconds(1)) {
    return absl::InvalidArgumentError("--max_connection_age takes 1s or more");
  }
  options.drain_delay = absl::GetFlag(FLAGS_drain_delay);
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  return absl::OkStatus();
}

template <typename Server, typename Options>
auto StartServer(const Options& options, const ShutdownSignal& shutdown) {
  const ShutdownSignal::EndsAtOnce nobody_waits(shutdown);
  return Server::Start(options);
}

// How often a tier looks at its own health.
inline constexpr absl::Duration kLookInterval = absl::Seconds(1);

// Starts a Server (VisionServer or LanguageServer), says READY, and drains it when SIGTERM or SIGINT comes; while the
// model is still being loaded either ends the process at once. A server whose engine has failed fails its health checks
// and exits with 1, so that a supervisor restarts it.
template <typename Server, typename Options>
absl::Status ServeTier(std::string_view tier, const Options& options) {
  ShutdownSignal shutdown;
  DIPTYCH_RETURN_IF_ERROR(
      StartLog(std::string(tier) + "_service", absl::GetFlag(FLAGS_log_level), absl::GetFlag(FLAGS_log_format)));
  const SteadyTime begin = SteadyClock::now();
  DIPTYCH_ASSIGN_OR_RETURN(const auto server, StartServer<Server>(options, shutdown));
  AnnounceReady(tier, server->port(), server->metrics_port(), server->model(), TimeSince(begin),
                options.drain_delay + options.drain_timeout);
  while (!shutdown.WaitFor(kLookInterval)) {
    if (const absl::Status health = server->health(); !health.ok())
      EndUnhealthy(health, [&] { server->SetUnready(health); });
  }
  LogDraining();
  server->Drain();
  return absl::OkStatus();
}

}  // namespace diptych
