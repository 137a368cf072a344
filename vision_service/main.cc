// The vision_service process: flags, start, READY, drain on SIGTERM.
#include <cstdint>
#include <string>

#include "absl/flags/flag.h"
#include "absl/time/clock.h"
#include "common/flags.h"
#include "common/process.h"
#include "common/status.h"
#include "vision_service/server.h"

ABSL_FLAG(std::string, model, "models/demo", "checkpoint folder in Hugging Face layout");
ABSL_FLAG(std::string, device, "cpu", "cpu, cuda or cuda:N");
ABSL_FLAG(std::string, dtype, "float32", "float32, bfloat16 or float16");
ABSL_FLAG(std::string, listen, "127.0.0.1:7001", "host:port to serve on; port 0 picks a free one");
ABSL_FLAG(std::string, tls_cert, "", "PEM file with this server's certificate; empty: no TLS");
ABSL_FLAG(std::string, tls_key, "", "PEM file with its key");
ABSL_FLAG(std::string, tls_client_ca, "", "PEM file of the authority that callers' certificates must be signed by");
ABSL_FLAG(int, threads, 0, "threads of one operator; 0: one for each core");
ABSL_FLAG(int, image_workers, 2, "threads that decode and resize pictures");
ABSL_FLAG(int, queue_limit, 64, "calls that may be inside, waiting or running; over it QUEUE_FULL");
ABSL_FLAG(int, max_batch, 8, "pictures that may go through the vision transformer together");
ABSL_FLAG(int64_t, cache_bytes, 256ll << 20, "visual tokens that are remembered; 0: none");
ABSL_FLAG(int64_t, max_inflight_bytes, 1ll << 30, "memory for pictures in flight; over it QUEUE_FULL");
ABSL_FLAG(absl::Duration, drain_delay, absl::ZeroDuration(), "on SIGTERM: time between not ready and refusing calls");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30), "on SIGTERM: time that calls in flight get to end");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warn, error or off");

namespace {

diptych::VisionOptions ReadOptions() {
  return {.model = absl::GetFlag(FLAGS_model),
          .device = absl::GetFlag(FLAGS_device),
          .dtype = absl::GetFlag(FLAGS_dtype),
          .listen = absl::GetFlag(FLAGS_listen),
          .tls = {.cert_file = absl::GetFlag(FLAGS_tls_cert),
                  .key_file = absl::GetFlag(FLAGS_tls_key),
                  .client_ca_file = absl::GetFlag(FLAGS_tls_client_ca)},
          .threads = absl::GetFlag(FLAGS_threads),
          .image_workers = absl::GetFlag(FLAGS_image_workers),
          .queue_limit = absl::GetFlag(FLAGS_queue_limit),
          .max_batch = absl::GetFlag(FLAGS_max_batch),
          .cache_bytes = absl::GetFlag(FLAGS_cache_bytes),
          .max_inflight_bytes = absl::GetFlag(FLAGS_max_inflight_bytes),
          .drain_delay = absl::GetFlag(FLAGS_drain_delay),
          .drain_timeout = absl::GetFlag(FLAGS_drain_timeout)};
}

absl::Status Serve() {
  DIPTYCH_RETURN_IF_ERROR(diptych::StartLog("vision_service", absl::GetFlag(FLAGS_log_level)));
  diptych::ShutdownSignal shutdown;
  const absl::Time begin = absl::Now();
  DIPTYCH_ASSIGN_OR_RETURN(const auto server, diptych::VisionServer::Start(ReadOptions()));
  diptych::AnnounceReady("vision", server->port(), 0, server->model(), absl::Now() - begin);
  shutdown.Wait();
  diptych::LogDraining();
  server->Drain();
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  diptych::ParseFlags("Computes the visual tokens of pictures. Called by language_service.", argc, argv);
  const absl::Status status = Serve();
  return status.ok() ? 0 : diptych::FailStart("vision_service", status);
}
