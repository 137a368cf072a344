// Client channels from one process to another.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/grpc/server.h"
#include "common/steady_clock.h"

namespace diptych {

struct ChannelOptions {
  std::string target;        // any gRPC name: "dns:///vision:7001", "ipv4:10.0.0.1:7001,10.0.0.2:7001", "xds:///…"
  std::string service_name;  // full proto name whose health decides whether a replica is used
  TlsOptions tls = {};       // client_ca_file is the authority that signed the peers; cert and key are shown to them
  int max_receive_bytes = 4 << 20;
};

// Makes channels to the replicas of one tier, which spread calls over the healthy ones in turn. A dead target is known
// to be dead within a second, and one that comes back is used again within two; calls to a replica that has stopped
// without closing its connections end with UNAVAILABLE within six. Names are looked up again, at most twice a second,
// whenever a connection ends or is refused. They unpack no compressed message. Thread-safe; outlives its channels.
class ChannelMaker {
 public:
  // INVALID_ARGUMENT if the target is empty, the TLS files are unusable, or with TLS the target is a list of addresses
  // of several hosts.
  static absl::StatusOr<std::shared_ptr<ChannelMaker>> Open(const ChannelOptions& options);
  ~ChannelMaker();

  std::shared_ptr<grpc::Channel> Make() const;
  // To these alone, which are peers of channels to the target: "ipv4:10.0.0.1:7001". Of both families, the one that
  // more of them have. Peers prove the same name as those of the target.
  std::shared_ptr<grpc::Channel> MakeTo(const std::vector<std::string>& replicas) const;

 private:
  ChannelMaker(const ChannelOptions& options, std::shared_ptr<PemFiles> files,
               std::shared_ptr<grpc::ChannelCredentials> credentials);

  const ChannelOptions options_;
  const std::shared_ptr<PemFiles> files_;  // outlive the credentials, which read them; null without TLS
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
};

// Has the channel connect, and look up its target's name, at once where it would do so later only: after failures gRPC
// waits for up to two minutes before it asks DNS again. At most once a second.
class ChannelWaker {
 public:
  explicit ChannelWaker(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}
  void Wake();

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  std::atomic<SteadyTime> last_ = SteadyTime();
};

// Leaves out gRPC's own repeats of calls, whose code (1.51) ends the process when a peer's trailers have no status.
void LeaveOutRepeats(grpc::ChannelArguments& arguments);

// A channel with these arguments unpacks no message: a call whose answers are compressed ends with an error.
void RefuseCompressedMessages(grpc::ChannelArguments& arguments);

}  // namespace diptych
