// The gateway: the only public process. Flags, start, wait for a signal, drain.

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/logging/log.h"
#include "common/network/listen_address.h"
#include "common/process/flags.h"
#include "common/process/process.h"
#include "common/process/shutdown_signal.h"
#include "common/process/standard_streams.h"
#include "common/status.h"
#include "common/steady_clock.h"
#include "common/text/byte_size.h"
#include "gateway/admission/admission.h"
#include "gateway/options.h"
#include "gateway/server.h"

using Defaults = diptych::gateway::Options;

ABSL_FLAG(std::string, listen, Defaults().listen, "host:port that callers connect to; port 0 picks a free one");
ABSL_FLAG(std::string, metrics_listen, diptych::gateway::kDefaultMetricsListen,
          "host:port where Prometheus reads /metrics; empty: none");
ABSL_FLAG(std::string, http_listen, diptych::gateway::kDefaultHttpListen,
          "IP:port to serve HTTP on; port 0 picks a free one; empty: no HTTP");
ABSL_FLAG(std::vector<std::string>, http_hosts, {},
          "host names, separated by commas, that HTTP callers may use besides IP addresses and localhost; "
          "*.example.com: every name with that ending; *: any; others get 403, so that no foreign web page uses the "
          "server through DNS rebinding");
ABSL_FLAG(std::vector<std::string>, cors_origins, {},
          "origins, separated by commas, whose web pages may use the HTTP API from a browser, for example "
          "https://example.org; *: any; empty: its own page only");
ABSL_FLAG(
    std::string, language_target, Defaults().language_target,
    "the language tier: any gRPC target name, for example dns:///language:7002 or ipv4:10.0.0.1:7002,10.0.0.2:7002");
ABSL_FLAG(std::string, vision_target, Defaults().vision_target,
          "the vision tier, likewise; asked for its description and for analyses");
ABSL_FLAG(diptych::Affinity, affinity, Defaults().affinity,
          "how the replica of a tier is chosen; image: questions about one image and the turns of one conversation go "
          "to the replica that has them in its caches; none: round robin");
ABSL_FLAG(std::vector<std::string>, served_model_name, {},
          "more names for the served model, separated by commas, for clients with a fixed model name");
ABSL_FLAG(std::string, system_prompt, "prepend",
          "system messages over HTTP, which BLIP-2 does not know; prepend: put before the first question as text; "
          "refuse: refused unless empty");
ABSL_FLAG(std::string, api_keys_file, "",
          "JSON file with the SHA-256 hashes of the keys that callers must send, and their limits (SECURITY.md); read "
          "again when it changes; empty: no key is needed");
ABSL_FLAG(bool, shared_cache, false,
          "callers with keys share the tiers' caches, which is faster and lets a caller find out what another asked");
ABSL_FLAG(diptych::ByteSize, max_image_bytes, {Defaults().limits.image.max_bytes},
          "most bytes of one encoded image, 1 KiB to 256 MiB; the tiers' own limits apply, too");
ABSL_FLAG(int64_t, max_image_pixels, Defaults().limits.image.max_pixels,
          "most pixels of one image; the tiers' own limits apply, too");
ABSL_FLAG(bool, allow_image_urls, Defaults().allow_image_urls,
          "images given by https URL are downloaded, from the public internet only (SECURITY.md)");
ABSL_FLAG(int, max_inflight, Defaults().max_inflight,
          "most questions that are answered at a time; more are refused with QUEUE_FULL");
ABSL_FLAG(diptych::ByteSize, max_inflight_bytes, {Defaults().max_inflight_bytes},
          "memory for the questions being answered, two copies of each; more are refused with QUEUE_FULL");
ABSL_FLAG(absl::Duration, request_timeout, Defaults().request_timeout,
          "longest time for a question, even if its caller sets a later deadline or none");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warn, error or off");
ABSL_FLAG(std::string, log_format, "text", "text, or json: one object per line");
ABSL_FLAG(std::string, otlp_endpoint, Defaults().tracing.otlp_endpoint,
          "host:port of an OpenTelemetry collector that receives the spans of requests by OTLP over gRPC; empty: none");
ABSL_FLAG(double, trace_sample_ratio, Defaults().tracing.sample_ratio,
          "share of the requests without a traceparent that are recorded, 0 to 1; others are recorded as their "
          "traceparent says");
ABSL_FLAG(std::string, tls_cert, "",
          "PEM file with the certificate shown to callers, over gRPC and HTTP, and to the tiers; empty: no TLS");
ABSL_FLAG(std::string, tls_key, "", "PEM file with its key");
ABSL_FLAG(std::string, tls_client_ca, "",
          "PEM file of the authority that signs callers' certificates; empty: callers need none");
ABSL_FLAG(std::string, tls_tier_ca, "",
          "PEM file of the authority that signs the tiers' certificates; empty: tiers are reached without TLS");
ABSL_FLAG(absl::Duration, drain_delay, Defaults().drain_delay,
          "on SIGTERM: time between becoming unready and refusing calls");
ABSL_FLAG(absl::Duration, drain_timeout, Defaults().drain_timeout, "on SIGTERM: time that calls in flight get to end");

namespace {

constexpr absl::Duration kTidyInterval = absl::Seconds(10);

constexpr char kUsage[] =
    "Public entry point: checks questions, calls the language tier, relays answers with timings and budget.";

// INVALID_ARGUMENT, naming the flag whose value cannot be used.
absl::Status CheckOptions(const diptych::gateway::Options& options) {
  for (const std::string& name : options.served_model_names) {
    if (name.empty() || name.size() > diptych::kMaxModelNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("--served_model_name takes names of 1 to ", diptych::kMaxModelNameBytes, " bytes"));
    }
  }
  DIPTYCH_RETURN_IF_ERROR(diptych::CheckLimits(options.limits.image));
  if (options.max_inflight < 1) return absl::InvalidArgumentError("--max_inflight takes 1 or more");
  const int64_t least = diptych::gateway::Admission::LeastBytes(options.limits);
  if (options.max_inflight_bytes < least) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_inflight_bytes takes ", least, " or more, which one question of the largest images needs"));
  }
  if (options.request_timeout < absl::Milliseconds(1)) {
    return absl::InvalidArgumentError("--request_timeout takes 1ms or more");
  }
  return absl::OkStatus();
}

absl::StatusOr<diptych::gateway::Options> ReadFlags() {
  diptych::gateway::Options options;
  options.listen = absl::GetFlag(FLAGS_listen);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  options.http_listen = absl::GetFlag(FLAGS_http_listen);
  options.http_hosts = absl::GetFlag(FLAGS_http_hosts);
  options.cors_origins = absl::GetFlag(FLAGS_cors_origins);
  options.language_target = absl::GetFlag(FLAGS_language_target);
  options.vision_target = absl::GetFlag(FLAGS_vision_target);
  options.affinity = absl::GetFlag(FLAGS_affinity);
  options.served_model_names = absl::GetFlag(FLAGS_served_model_name);
  if (const std::string rule = absl::GetFlag(FLAGS_system_prompt); rule == "refuse") {
    options.system_prompt = diptych::gateway::SystemPrompt::kRefuse;
  } else if (rule != "prepend") {
    return absl::InvalidArgumentError("--system_prompt takes prepend or refuse");
  }
  options.api_keys_file = absl::GetFlag(FLAGS_api_keys_file);
  options.limits.image.max_bytes = absl::GetFlag(FLAGS_max_image_bytes);
  options.limits.image.max_pixels = absl::GetFlag(FLAGS_max_image_pixels);
  options.shared_cache = absl::GetFlag(FLAGS_shared_cache);
  options.allow_image_urls = absl::GetFlag(FLAGS_allow_image_urls);
  options.max_inflight = absl::GetFlag(FLAGS_max_inflight);
  options.max_inflight_bytes = absl::GetFlag(FLAGS_max_inflight_bytes);
  options.request_timeout = absl::GetFlag(FLAGS_request_timeout);
  options.tracing = {.otlp_endpoint = absl::GetFlag(FLAGS_otlp_endpoint),
                     .sample_ratio = absl::GetFlag(FLAGS_trace_sample_ratio)};
  options.tls = {.cert_file = absl::GetFlag(FLAGS_tls_cert),
                 .key_file = absl::GetFlag(FLAGS_tls_key),
                 .client_ca_file = absl::GetFlag(FLAGS_tls_client_ca)};
  const std::string tier_ca = absl::GetFlag(FLAGS_tls_tier_ca);
  if (!tier_ca.empty()) options.tier_tls = {options.tls.cert_file, options.tls.key_file, tier_ca, "tls_tier_ca"};
  options.drain_delay = absl::GetFlag(FLAGS_drain_delay);
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(options));
  return options;
}

// A port of 127.0.0.1 behind an edge on the same machine is how it is meant.
void WarnOfOpenPort(const diptych::gateway::Options& options) {
  const auto address = diptych::ParseHostPort(options.listen);
  if (!address.ok() || diptych::IsLoopback(address->host)) return;
  spdlog::warn(
      "other machines reach gRPC on {}, which has no defence against floods of HTTP/2: before strangers get at it, put "
      "an edge in front (deploy/edge){}",
      options.listen,
      options.tls.cert_file.empty() ? "; without --tls_cert, keys and images cross the network readable" : "");
}

absl::Status Serve() {
  DIPTYCH_RETURN_IF_ERROR(
      diptych::StartLog("gateway", absl::GetFlag(FLAGS_log_level), absl::GetFlag(FLAGS_log_format)));
  diptych::ShutdownSignal shutdown;
  const auto begin = diptych::SteadyClock::now();
  DIPTYCH_ASSIGN_OR_RETURN(const auto options, ReadFlags());
  const auto announce = [begin, drain = options.drain_delay + options.drain_timeout](
                            const diptych::gateway::GatewayServer& server, const diptych::v1::ModelDescription& model) {
    diptych::AnnounceReady("gateway", server.port(), server.metrics_port(), model, diptych::TimeSince(begin), drain);
  };
  DIPTYCH_ASSIGN_OR_RETURN(const auto server, diptych::gateway::GatewayServer::Start(options, announce));
  spdlog::info("listening on port {}", server->port());
  WarnOfOpenPort(options);
  while (!shutdown.WaitFor(kTidyInterval)) diptych::ReturnFreedMemory();
  diptych::LogDraining();
  server->Drain();
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  diptych::OpenStandardStreams();
  diptych::ParseFlags(kUsage, argc, argv);
  const absl::Status status = Serve();
  diptych::EndProcess(status.ok() ? 0 : diptych::FailStart("gateway", status));
}
