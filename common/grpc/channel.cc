#include "common/grpc/channel.h"

#include <grpcpp/create_channel.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/grpc/callback_threads.h"
#include "common/grpc/connection_calls.h"
#include "common/network/listen_address.h"
#include "common/network/pem.h"
#include "common/status.h"

namespace diptych {
namespace {

// A certificate is checked for one name, which addresses of several hosts do not have.
absl::Status CheckHasOneName(const std::string& target) {
  const std::vector<TargetAddress> addresses = TargetAddresses(target);
  const bool one = std::all_of(addresses.begin(), addresses.end(),
                               [&](const TargetAddress& address) { return address.host == addresses.front().host; });
  if (one) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "with TLS, addresses of several hosts have no name that a certificate can be checked for: give a DNS name");
}

// `files` is what the credentials read, if they read anything.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const ChannelOptions& options,
                                                                                 std::shared_ptr<PemFiles>& files) {
  const TlsOptions& tls = options.tls;
  if (tls.cert_file.empty() && tls.key_file.empty() && tls.client_ca_file.empty()) {
    return grpc::InsecureChannelCredentials();
  }
  DIPTYCH_RETURN_IF_ERROR(CheckHasOneName(options.target));
  DIPTYCH_ASSIGN_OR_RETURN(files, PemFiles::Open(tls));
  grpc::experimental::TlsChannelCredentialsOptions credentials;
  credentials.set_certificate_provider(files->provider());
  if (!tls.client_ca_file.empty()) credentials.watch_root_certs();
  if (!tls.cert_file.empty()) credentials.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(credentials);
}

std::string ServiceConfig(const std::string& service_name) {
  return absl::StrCat(R"({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ")",
                      service_name, R"("}})");
}

grpc::ChannelArguments ArgumentsFor(const ChannelOptions& options) {
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
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, int{kMaxMetadataBytes});
  // gRPC looks a name up again when a connection ends, as each does at its greatest age, but by itself not within 30 s.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  RefuseCompressedMessages(arguments);
  LeaveOutRepeats(arguments);
  // Keeps channels that check different services from sharing connections: gRPC 1.51 crashes in a call by the second of
  // two such channels to an address that refuses connections (it fails the call with an OK status).
  arguments.SetString("diptych.service", options.service_name);
  return arguments;
}

// The :authority of calls to the target, and the name in its certificate: "vision:7001" of "dns:///vision:7001", the
// first address of several.
std::string AuthorityOf(absl::string_view target) {
  for (const absl::string_view scheme : {"dns:", "ipv4:", "ipv6:", "xds:"}) {
    if (absl::ConsumePrefix(&target, scheme)) break;
  }
  if (absl::ConsumePrefix(&target, "//")) target.remove_prefix(std::min(target.find('/'), target.size()));
  absl::ConsumePrefix(&target, "/");
  return std::string(target.substr(0, target.find(',')));
}

// One target of several addresses of a family.
std::string TargetOf(absl::string_view scheme, const std::vector<std::string>& replicas) {
  std::vector<absl::string_view> addresses;
  for (absl::string_view replica : replicas) {
    if (absl::ConsumePrefix(&replica, scheme)) addresses.push_back(replica);
  }
  return absl::StrCat(scheme, absl::StrJoin(addresses, ","));
}

}  // namespace

absl::StatusOr<std::shared_ptr<ChannelMaker>> ChannelMaker::Open(const ChannelOptions& options) {
  if (options.target.empty()) return absl::InvalidArgumentError("the target address is empty");
  DIPTYCH_RETURN_IF_ERROR(CheckTargetPorts(options.target));
  KeepCallbackThreads();
  std::shared_ptr<PemFiles> files;
  DIPTYCH_ASSIGN_OR_RETURN(auto credentials, MakeChannelCredentials(options, files));
  return std::shared_ptr<ChannelMaker>(new ChannelMaker(options, std::move(files), std::move(credentials)));
}

ChannelMaker::ChannelMaker(const ChannelOptions& options, std::shared_ptr<PemFiles> files,
                           std::shared_ptr<grpc::ChannelCredentials> credentials)
    : options_(options), files_(std::move(files)), credentials_(std::move(credentials)) {}

ChannelMaker::~ChannelMaker() = default;

std::shared_ptr<grpc::Channel> ChannelMaker::Make() const {
  grpc::ChannelArguments arguments = ArgumentsFor(options_);
  if (absl::StrContains(options_.target, ',')) {
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, AuthorityOf(options_.target));
  }
  return grpc::CreateCustomChannel(options_.target, credentials_, arguments);
}

std::shared_ptr<grpc::Channel> ChannelMaker::MakeTo(const std::vector<std::string>& replicas) const {
  const auto of_v6 = std::count_if(replicas.begin(), replicas.end(),
                                   [](const std::string& replica) { return absl::StartsWith(replica, "ipv6:"); });
  const bool is_v6 = 2 * static_cast<size_t>(of_v6) > replicas.size();
  grpc::ChannelArguments arguments = ArgumentsFor(options_);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, AuthorityOf(options_.target));
  return grpc::CreateCustomChannel(TargetOf(is_v6 ? "ipv6:" : "ipv4:", replicas), credentials_, arguments);
}

void ChannelWaker::Wake() {
  const SteadyTime now = SteadyClock::now();
  SteadyTime last = last_;
  if (now - last < std::chrono::seconds(1) || !last_.compare_exchange_strong(last, now)) return;
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
}

void LeaveOutRepeats(grpc::ChannelArguments& arguments) {
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
}

void RefuseCompressedMessages(grpc::ChannelArguments& arguments) {
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

}  // namespace diptych
