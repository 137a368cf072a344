// The HTTP port on which Prometheus reads what a process counts, and probes whether it is ready.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/metrics/metrics.h"

namespace diptych {

// Answers GET /metrics with MetricRegistry::Exposition on a thread of its own, one answer a connection. For probes that
// cannot ask gRPC's health service, as Kubernetes' cannot over TLS, it also answers GET /healthz/live with 200 and
// GET /healthz/ready with 200, or 503 and the reason; and nothing else. A peer gets 8 KiB and two seconds for its
// request and two more to take the answer. At most 16 are connected: another one ends the oldest, so that peers which
// never finish do not keep a working one out.
class MetricsServer {
 public:
  // `listen` is host:port; port 0 picks a free one. `registry` must outlive the server, and so must what `ready` asks,
  // on the server's thread. INVALID_ARGUMENT, naming --metrics_listen, if the address is malformed or taken.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& listen, const MetricRegistry& registry,
                                                              std::function<absl::Status()> ready);
  // Ends connections that are open.
  ~MetricsServer();

  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  int port() const;

 private:
  class Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace diptych
