// A gRPC server with health, reflection, TLS and an orderly end. All three processes start theirs here.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/grpc/call_gate.h"
#include "common/grpc/connection_acceptor.h"
#include "common/grpc/health_service.h"
#include "common/grpc/own_channel.h"
#include "common/grpc/unknown_methods.h"
#include "common/network/pem.h"
#include "common/steady_clock.h"

namespace diptych {

struct ServerOptions {
  std::string service_name;                     // full proto name, under which health is reported too
  std::vector<std::string> more_services = {};  // full names of others that reflection lists, and their health
  std::string listen = "127.0.0.1:0";           // host:port; port 0 picks a free one
  TlsOptions tls = {};
  int max_receive_bytes = 4 << 20;                          // largest request message
  int64_t memory_bytes = int64_t{1} << 30;                  // of all that gRPC holds for callers; over it calls end
  int most_calls = 0;                                       // at a time, which the bound on streams has room for
  absl::Duration max_connection_age = absl::Minutes(5);     // after which a caller has to connect again,
  absl::Duration max_connection_grace = absl::Minutes(15);  // and calls that still run on the old connection end
  absl::Duration drain_delay = absl::ZeroDuration();        // time between "not ready" and refusing new calls
  absl::Duration drain_timeout = absl::Seconds(30);         // time that calls in flight get to end
};

// Thread-safe.
class GrpcServer {
 public:
  // Listens and serves `services` (not owned; must outlive the server), grpc.health.v1.Health and
  // reflection. Readiness starts false. Compressed messages get UNIMPLEMENTED, unread: a few bytes could stand for any
  // number. `before_callers` gets the server when this process can use it and it hears nobody else yet.
  // INVALID_ARGUMENT if the address or the TLS files are unusable.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const ServerOptions& options, std::initializer_list<grpc::Service*> services,
      const std::function<void(GrpcServer&)>& before_callers = nullptr);

  // Ends calls that are still running.
  ~GrpcServer();

  // Sets what health checks of "", "readiness" and service_name and of more_services answer; one of "readiness" that
  // fails says why. "liveness" always serves.
  void SetReady(const absl::Status& readiness);

  // Says "readiness" no more, and that is all for drain_delay: callers that find replicas by readiness, as Kubernetes'
  // DNS does, learn of others meanwhile, and those that know no other still use this one. Then not ready, and refuses
  // new calls and gives those in flight drain_timeout. With a gate, connections stay open meanwhile and half a second
  // longer, new calls get DRAINING, and then connections end: no call ends with CANCELLED. `before_shutdown` runs
  // when the gate is empty: calls of this process end with the server at once. Returns when the last call has ended.
  // Idempotent.
  void Drain(CallGate* gate = nullptr, const std::function<void()>& before_shutdown = nullptr);

  // The answer to a health check of "readiness".
  absl::Status readiness() const { return health_.Look("readiness"); }

  // A channel to this server without a socket between. Calls on it end with UNAVAILABLE once the server shuts down.
  std::shared_ptr<grpc::ChannelInterface> InProcessChannel();

  int port() const { return acceptor_->port(); }

 private:
  void Shutdown(SteadyTime deadline);
  explicit GrpcServer(const ServerOptions& options) : options_(options) {}

  const ServerOptions options_;
  UnknownMethods unknown_methods_;
  HealthService health_;
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::shared_ptr<PemFiles> pem_files_;  // null without TLS
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<OwnChannel> own_channel_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;
};

}  // namespace diptych
