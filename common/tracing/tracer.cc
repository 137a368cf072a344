#include "common/tracing/tracer.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/network/listen_address.h"
#include "common/process/build_info.h"
#include "common/status.h"

namespace diptych {
namespace {

std::unique_ptr<SpanExporter> MakeExporter(const TraceOptions& options, std::string_view service,
                                           const SpanMetrics& metrics) {
  if (options.otlp_endpoint.empty()) return nullptr;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const SpanSource source{.service = absl::StrCat("diptych-", std::string(service)),
                          .version = std::string(Version()),
                          .instance = absl::StrCat(host.data(), ":", getpid())};
  return std::make_unique<SpanExporter>(options.otlp_endpoint, source, metrics);
}

}  // namespace

absl::Status CheckTraceOptions(const TraceOptions& options) {
  if (!(options.sample_ratio >= 0 && options.sample_ratio <= 1)) {
    return absl::InvalidArgumentError("--trace_sample_ratio takes 0 to 1");
  }
  if (options.otlp_endpoint.empty()) return absl::OkStatus();
  if (const auto address = ParseHostPort(options.otlp_endpoint); !address.ok() || address->port == 0) {
    return absl::InvalidArgumentError(
        "--otlp_endpoint takes host:port of a collector that speaks OTLP over gRPC, without http:// or a path, for "
        "example localhost:4317");
  }
  return absl::OkStatus();
}

Tracer::Tracer(const TraceOptions& options, std::string_view service, MetricRegistry& registry)
    : sample_ratio_(options.sample_ratio), exporter_(MakeExporter(options, service, SpanMetrics(registry))) {}

// By the id, so that the same trace is judged alike everywhere.
bool Tracer::Samples(const TraceContext& trace) const {
  uint64_t random = 0;
  for (size_t i = 9; i < trace.trace_id.size(); ++i) random = random << 8 | trace.trace_id[i];
  return static_cast<double>(random) < sample_ratio_ * std::ldexp(1, 56);
}

Span Tracer::BeginCall(const grpc::ServerContextBase& context, std::string_view method, SteadyTime arrival) const {
  TraceContext trace = TraceContextOf(context);
  if (exporter_ == nullptr) return Span(std::move(trace));
  std::array<uint8_t, 8> parent{};
  if (trace.exists()) {
    parent = std::exchange(trace.span_id, NewSpanId());
  } else {
    trace = NewTrace();
    if (Samples(trace)) trace.flags |= kSampledFlag;
  }
  if (!trace.sampled()) return Span(std::move(trace));
  return Span(exporter_.get(), std::move(trace), parent, method, SpanKind::kServer, arrival);
}

Span Tracer::BeginClientCall(const TraceContext& parent, std::string_view method) const {
  if (exporter_ == nullptr || !parent.sampled()) return Span(parent);
  TraceContext trace = parent;
  trace.span_id = NewSpanId();
  return Span(exporter_.get(), std::move(trace), parent.span_id, method, SpanKind::kClient, SteadyClock::now());
}

}  // namespace diptych
