#include "common/channel.h"

#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/listen_address.h"
#include "common/pem.h"
#include "common/status.h"

namespace diptych {
namespace {

// `files` is what the credentials read, if they read anything.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const TlsOptions& tls,
                                                                                 std::shared_ptr<PemFiles>& files) {
  if (tls.cert_file.empty() && tls.key_file.empty() && tls.client_ca_file.empty()) {
    return grpc::InsecureChannelCredentials();
  }
  DIPTYCH_ASSIGN_OR_RETURN(files, PemFiles::Watch(tls));
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(files->provider());
  if (!tls.client_ca_file.empty()) options.watch_root_certs();
  if (!tls.cert_file.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

struct ChannelAndFiles {
  std::shared_ptr<PemFiles> files;  // outlives the channel, which reads them; null without TLS
  std::shared_ptr<grpc::Channel> channel;
};

std::string ServiceConfig(const std::string& service_name) {
  return absl::StrCat(R"({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ")",
                      service_name, R"("}})");
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options) {
  if (options.target.empty()) return absl::InvalidArgumentError("the target address is empty");
  DIPTYCH_RETURN_IF_ERROR(CheckTargetPorts(options.target));
  const auto made = std::make_shared<ChannelAndFiles>();
  DIPTYCH_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(options.tls, made->files));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(ServiceConfig(options.service_name));
  arguments.SetMaxReceiveMessageSize(options.max_receive_bytes);
  // The least time between attempts is also what one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A peer that goes silent in the middle of a call is given up within 6 s, and its calls are asked elsewhere. The
  // transport answers pings however long a model takes, so this is no bound on the work.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 2'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 4'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no limit: a call may wait for long
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // gRPC looks a name up again when a connection ends, as each does at its greatest age, but by itself not within 30 s.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  RefuseCompressedMessages(arguments);
  made->channel = grpc::CreateCustomChannel(options.target, credentials, arguments);
  return std::shared_ptr<grpc::Channel>(made, made->channel.get());
}

void ChannelWaker::Wake() {
  const int64_t now = absl::GetCurrentTimeNanos();
  int64_t last = last_ns_;
  if (now - last < absl::ToInt64Nanoseconds(absl::Seconds(1)) || !last_ns_.compare_exchange_strong(last, now)) return;
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
}

void RefuseCompressedMessages(grpc::ChannelArguments& arguments) {
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

}  // namespace diptych
