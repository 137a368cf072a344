// Client channels from one process to another.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/server.h"

namespace diptych {

struct ChannelOptions {
  std::string target;        // any gRPC name: "dns:///vision:7001", "ipv4:10.0.0.1:7001,10.0.0.2:7001", "xds:///…"
  std::string service_name;  // full proto name whose health decides whether a replica is used
  TlsOptions tls = {};       // client_ca_file is the authority that signed the peers; cert and key are shown to them
  int max_receive_bytes = 4 << 20;
};

// Spreads calls over the healthy replicas in turn. A dead target is known to be dead within a second, and one
// that comes back is used again within two; calls to a replica that has stopped without closing its connections end
// with UNAVAILABLE within six. Names are looked up again, at most twice a second, whenever a connection ends or is
// refused. Unpacks no compressed message. INVALID_ARGUMENT if the target is empty or the TLS files are
// unusable.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options);

// Has the channel connect, and look up its target's name, at once where it would do so later only: after failures gRPC
// waits for up to two minutes before it asks DNS again. At most once a second.
class ChannelWaker {
 public:
  explicit ChannelWaker(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}
  void Wake();

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  std::atomic<int64_t> last_ns_ = 0;  // of absl::GetCurrentTimeNanos
};

// A channel with these arguments unpacks no message: a call whose answers are compressed ends with an error.
void RefuseCompressedMessages(grpc::ChannelArguments& arguments);

}  // namespace diptych
