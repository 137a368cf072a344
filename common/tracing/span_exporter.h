// Sends spans to an OpenTelemetry collector, by OTLP over gRPC.
#pragma once

#include <memory>
#include <string>

#include "common/metrics/metrics.h"

namespace opentelemetry::proto::trace::v1 {
class Span;
}

namespace diptych {

// The process whose spans they are.
struct SpanSource {
  std::string service;   // service.name, as "diptych-gateway"
  std::string version;   // service.version
  std::string instance;  // service.instance.id
};

// Thread-safe.
struct SpanMetrics {
  explicit SpanMetrics(MetricRegistry& registry);

  Counter exported;
  Counter no_room;  // dropped because too many waited
  Counter refused;  // dropped because the collector did not take them
};

// Keeps a bounded number of spans and sends them in batches, one at a time, on gRPC's threads. A batch that the
// collector cannot take now is sent again some times; what does not fit meanwhile is dropped and counted, so that no
// request ever waits. Thread-safe.
class SpanExporter {
 public:
  // `endpoint`: host:port of the collector, without TLS.
  SpanExporter(const std::string& endpoint, const SpanSource& source, const SpanMetrics& metrics);
  // Sends what is there, for two seconds at most.
  ~SpanExporter();

  void Add(opentelemetry::proto::trace::v1::Span span);

 private:
  class Sender;

  const std::shared_ptr<Sender> sender_;  // shared with the calls of gRPC that are on their way
};

}  // namespace diptych
