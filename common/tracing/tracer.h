// Decides which requests of a process are recorded as spans.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/metrics/metrics.h"
#include "common/stage_clock.h"
#include "common/tracing/span.h"
#include "common/tracing/span_exporter.h"
#include "common/tracing/trace_context.h"

namespace diptych {

struct TraceOptions {
  std::string otlp_endpoint = "";  // host:port of an OpenTelemetry collector; empty: nothing is recorded
  double sample_ratio = 1;         // of the requests that bring no trace, 0 to 1
};

// INVALID_ARGUMENT, naming the flag at fault.
absl::Status CheckTraceOptions(const TraceOptions& options);

// A request that brings a trace is recorded if its sampled flag says so. One that brings none begins a trace, and
// sample_ratio of those are recorded; the tiers behind follow. Without an endpoint nothing is recorded or begun, and
// what a request brings is passed on unchanged. Thread-safe.
class Tracer {
 public:
  // `service`: "gateway". Requires: CheckTraceOptions is OK. `registry` must outlive it.
  Tracer(const TraceOptions& options, std::string_view service, MetricRegistry& registry);

  // The span of a call that arrived. `method`: "diptych.v1.GatewayService/Ask".
  Span BeginCall(const grpc::ServerContextBase& context, std::string_view method, SteadyTime arrival) const;
  // The span of a call to another process for the request of `parent`, which may be over.
  Span BeginClientCall(const TraceContext& parent, std::string_view method) const;

 private:
  bool Samples(const TraceContext& trace) const;

  const double sample_ratio_;
  const std::unique_ptr<SpanExporter> exporter_;  // null: nothing is recorded
};

}  // namespace diptych
