#include "common/grpc/server.h"

#include <grpcpp/resource_quota.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <climits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/grpc/callback_threads.h"
#include "common/grpc/channel.h"
#include "common/grpc/connection_calls.h"
#include "common/grpc/grpc_log.h"
#include "common/grpc/reflection.h"
#include "common/grpc/steady_deadline.h"
#include "common/grpc/transport_bounds.h"
#include "common/network/listen_address.h"
#include "common/network/pem.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

// Time for a call that has left its gate to deliver its status, and for callers to learn that the gate is closed.
constexpr std::chrono::milliseconds kLastStatuses(500);

// `files` is what the credentials read, if they read anything.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsOptions& tls,
                                                                               std::shared_ptr<PemFiles>& files) {
  if (tls.cert_file.empty() && tls.key_file.empty() && tls.client_ca_file.empty())
    return grpc::InsecureServerCredentials();
  if (tls.cert_file.empty()) return absl::InvalidArgumentError("--tls_cert and --tls_key must be given together");
  DIPTYCH_ASSIGN_OR_RETURN(files, PemFiles::Open(tls));
  grpc::experimental::TlsServerCredentialsOptions options(files->provider());
  options.watch_identity_key_cert_pairs();
  if (!tls.client_ca_file.empty()) options.watch_root_certs();
  options.set_cert_request_type(tls.client_ca_file.empty()
                                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, INT_MAX));
}

// Limits of one peer's connection, and of all peers' memory. Pings that come more often than the tiers' own
// channels send them end the connection, with calls or without; a peer that does not answer ours is taken for gone,
// which cancels its calls.
void BoundConnections(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, int{kMaxMetadataBytes});
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConnectionCalls);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.max_connection_age));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(options.max_connection_grace));
  grpc::ResourceQuota quota(options.service_name);
  quota.Resize(static_cast<size_t>(options.memory_bytes));
  builder.SetResourceQuota(quota);
}

// A compressed message is refused by its header; if one gets through nevertheless, it is not decompressed.
void RefuseCompression(grpc::ServerBuilder& builder) {
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

std::shared_ptr<OwnChannel> MakeOwnChannel(grpc::Server& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // what comes back was made by this process
  RefuseCompressedMessages(arguments);
  return std::make_shared<OwnChannel>(server.InProcessChannel(arguments));
}

std::vector<std::string> NamesOf(const ServerOptions& options) {
  std::vector<std::string> names = {options.service_name, grpc::health::v1::Health::service_full_name()};
  names.insert(names.end(), options.more_services.begin(), options.more_services.end());
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const ServerOptions& options,
                                                              std::initializer_list<grpc::Service*> services,
                                                              const std::function<void(GrpcServer&)>& before_callers) {
  DIPTYCH_RETURN_IF_ERROR(CheckListenFlag("listen", options.listen));
  QuietGrpcLog();
  if (!BoundGrpcTransports(static_cast<size_t>(options.most_calls))) {
    spdlog::warn("what callers make gRPC hold has no bound: its library is not the system's");
  }
  KeepCallbackThreads();
  auto self = std::unique_ptr<GrpcServer>(new GrpcServer(options));
  DIPTYCH_ASSIGN_OR_RETURN(const auto credentials, MakeServerCredentials(options.tls, self->pem_files_));
  DIPTYCH_ASSIGN_OR_RETURN(self->acceptor_, ConnectionAcceptor::Listen(options.listen));
  grpc::ServerBuilder builder;
  self->connections_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  BoundConnections(options, builder);
  RefuseCompression(builder);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.RegisterService(&self->health_);
  self->reflection_ = MakeReflection(NamesOf(options));
  for (const auto& reflection : self->reflection_) builder.RegisterService(reflection.get());
  builder.RegisterCallbackGenericService(&self->unknown_methods_);
  self->server_ = builder.BuildAndStart();
  if (self->server_ == nullptr) return absl::InternalError("gRPC does not start a server");
  self->own_channel_ = MakeOwnChannel(*self->server_);
  self->SetReady(absl::UnavailableError("this server is starting"));
  self->health_.Set("liveness", true);
  if (before_callers) before_callers(*self);
  self->acceptor_->Start([connections = self->connections_.get()](int descriptor) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = descriptor;
    connections->HandleNewConnection(&connection);
  });
  return self;
}

GrpcServer::~GrpcServer() {
  if (acceptor_ != nullptr) acceptor_->Stop();
  if (server_ != nullptr) Shutdown(SteadyClock::now());
}

void GrpcServer::SetReady(const absl::Status& readiness) {
  health_.Set("", readiness.ok());
  health_.SetOrExplain("readiness", readiness);
  health_.Set(options_.service_name, readiness.ok());
  for (const std::string& service : options_.more_services) health_.Set(service, readiness.ok());
}

void GrpcServer::Drain(CallGate* gate, const std::function<void()>& before_shutdown) {
  const absl::Status draining =
      MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "this server is shutting down");
  health_.SetOrExplain("readiness", draining);
  std::this_thread::sleep_for(absl::ToChronoMilliseconds(options_.drain_delay));
  SetReady(draining);
  const auto deadline = FromNow(options_.drain_timeout);
  if (gate != nullptr) {
    gate->Close();
    gate->WaitUntilEmpty(options_.drain_timeout);
    std::this_thread::sleep_for(kLastStatuses);  // callers that watch health have gone by then
  }
  if (before_shutdown) before_shutdown();
  acceptor_->Stop();
  // Calls that come during the shutdown would end with CANCELLED, which callers do not repeat; so UNAVAILABLE.
  if (gate != nullptr) acceptor_->EndConnections();
  health_.Close();
  Shutdown(std::max(deadline, SteadyClock::now() + kLastStatuses));
  server_->Wait();
}

std::shared_ptr<grpc::ChannelInterface> GrpcServer::InProcessChannel() {
  return own_channel_;
}

void GrpcServer::Shutdown(SteadyTime deadline) {
  own_channel_->Close();
  server_->Shutdown(deadline);
}

}  // namespace diptych
