// The language_service process: flags, start, READY, drain on SIGTERM.
#include <cstdint>
#include <string>

#include "absl/flags/flag.h"
#include "absl/time/clock.h"
#include "common/flags.h"
#include "common/process.h"
#include "common/status.h"
#include "language_service/server.h"

ABSL_FLAG(std::string, model, "models/demo", "checkpoint folder in Hugging Face layout");
ABSL_FLAG(std::string, device, "cpu", "cpu, cuda or cuda:N");
ABSL_FLAG(std::string, dtype, "float32", "float32, bfloat16 or float16");
ABSL_FLAG(std::string, listen, "127.0.0.1:7002", "host:port to serve on; port 0 picks a free one");
ABSL_FLAG(std::string, vision_target, "ipv4:127.0.0.1:7001",
          "the vision tier, as any gRPC name; several replicas are used in turn");
ABSL_FLAG(std::string, tls_cert, "", "PEM file with this server's certificate; empty: no TLS");
ABSL_FLAG(std::string, tls_key, "", "PEM file with its key");
ABSL_FLAG(std::string, tls_client_ca, "", "PEM file of the authority that callers' certificates must be signed by");
ABSL_FLAG(int, threads, 0, "threads of one operator; 0: one for each core");
ABSL_FLAG(int, queue_limit, 64, "calls that may be inside, waiting or running; over it QUEUE_FULL");
ABSL_FLAG(int, max_batch, 32, "sequences that are decoded at a time; each beam of a beam search is one");
ABSL_FLAG(int, max_batched_tokens, 256,
          "tokens of one pass of the decoder; a prompt with more is read in several, so that streams go on between them");
ABSL_FLAG(int64_t, kv_cache_bytes, 0,
          "bytes for keys and values, taken at the start; 0: sixteen windows, 512 MiB at most, one window at least");
ABSL_FLAG(int64_t, cache_bytes, 128 << 20, "memory for pictures that were asked about, as their query tokens; 0: none");
ABSL_FLAG(int64_t, max_inflight_bytes, int64_t{1} << 30,
          "memory for the questions inside, their pictures and visual tokens; over it QUEUE_FULL");
ABSL_FLAG(absl::Duration, drain_delay, absl::ZeroDuration(), "on SIGTERM: time between not ready and refusing calls");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30), "on SIGTERM: time that calls in flight get to end");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warn, error or off");

namespace {

diptych::LanguageOptions ReadOptions() {
  return {.model = absl::GetFlag(FLAGS_model),
          .device = absl::GetFlag(FLAGS_device),
          .dtype = absl::GetFlag(FLAGS_dtype),
          .listen = absl::GetFlag(FLAGS_listen),
          .vision_target = absl::GetFlag(FLAGS_vision_target),
          .tls = {.cert_file = absl::GetFlag(FLAGS_tls_cert),
                  .key_file = absl::GetFlag(FLAGS_tls_key),
                  .client_ca_file = absl::GetFlag(FLAGS_tls_client_ca)},
          .threads = absl::GetFlag(FLAGS_threads),
          .queue_limit = absl::GetFlag(FLAGS_queue_limit),
          .max_batch = absl::GetFlag(FLAGS_max_batch),
          .max_batched_tokens = absl::GetFlag(FLAGS_max_batched_tokens),
          .kv_cache_bytes = absl::GetFlag(FLAGS_kv_cache_bytes),
          .cache_bytes = absl::GetFlag(FLAGS_cache_bytes),
          .max_inflight_bytes = absl::GetFlag(FLAGS_max_inflight_bytes),
          .drain_delay = absl::GetFlag(FLAGS_drain_delay),
          .drain_timeout = absl::GetFlag(FLAGS_drain_timeout)};
}

absl::Status Serve() {
  DIPTYCH_RETURN_IF_ERROR(diptych::StartLog("language_service", absl::GetFlag(FLAGS_log_level)));
  diptych::ShutdownSignal shutdown;
  const absl::Time begin = absl::Now();
  DIPTYCH_ASSIGN_OR_RETURN(const auto server, diptych::LanguageServer::Start(ReadOptions()));
  diptych::AnnounceReady("language", server->port(), 0, server->model(), absl::Now() - begin);
  shutdown.Wait();
  diptych::LogDraining();
  server->Drain();
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  diptych::ParseFlags("Answers questions about pictures, token by token. Called by gateway.", argc, argv);
  const absl::Status status = Serve();
  return status.ok() ? 0 : diptych::FailStart("language_service", status);
}
