#include "common/grpc/own_channel.h"

#include <grpc/grpc.h>

#include <climits>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace grpc {

// Defined in gRPC's library, declared by its channel.h as a friend.
std::shared_ptr<Channel> CreateChannelInternal(
    const std::string& host, grpc_channel* c_channel,
    std::vector<std::unique_ptr<experimental::ClientInterceptorFactoryInterface>> interceptor_creators);

namespace internal {

// Channels in front of others need private functions; this template is a friend, as gRPC's own such channels are.
template <>
class BlockingUnaryCallImpl<diptych::OwnChannel, diptych::OwnChannel> {
 public:
  static Call CreateCall(ChannelInterface& channel, const RpcMethod& method, ClientContext* context,
                         CompletionQueue* queue) {
    return channel.CreateCall(method, context, queue);
  }
  static void PerformOps(ChannelInterface& channel, CallOpSetInterface* ops, Call* call) {
    channel.PerformOpsOnCall(ops, call);
  }
  static void* Register(ChannelInterface& channel, const char* method) { return channel.RegisterMethod(method); }
  static CompletionQueue* Queue(ChannelInterface& channel) { return channel.CallbackCQ(); }
};

}  // namespace internal
}  // namespace grpc

namespace diptych {
namespace {

using Behind = grpc::internal::BlockingUnaryCallImpl<OwnChannel, OwnChannel>;

std::shared_ptr<grpc::Channel> ClosedChannel() {
  grpc_channel* const lame =
      grpc_lame_client_channel_create("", GRPC_STATUS_UNAVAILABLE, "this server is shutting down");
  return grpc::CreateChannelInternal("", lame, {});
}

}  // namespace

OwnChannel::OwnChannel(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), closed_(ClosedChannel()), beginning_(INT_MAX) {}

void OwnChannel::Close() {
  beginning_.Close();
  beginning_.WaitUntilEmpty(absl::InfiniteDuration());
}

grpc::internal::Call OwnChannel::CreateCall(const grpc::internal::RpcMethod& method, grpc::ClientContext* context,
                                            grpc::CompletionQueue* queue) {
  const auto ticket = beginning_.Enter();
  if (ticket.ok()) return Behind::CreateCall(*channel_, method, context, queue);
  const grpc::internal::RpcMethod by_name(method.name(), method.method_type());  // registered with the other channel
  return Behind::CreateCall(*closed_, by_name, context, queue);
}

void OwnChannel::PerformOpsOnCall(grpc::internal::CallOpSetInterface* ops, grpc::internal::Call* call) {
  Behind::PerformOps(*channel_, ops, call);
}

void* OwnChannel::RegisterMethod(const char* method) {
  return Behind::Register(*channel_, method);
}

void OwnChannel::NotifyOnStateChangeImpl(grpc_connectivity_state last, gpr_timespec deadline,
                                         grpc::CompletionQueue* queue, void* tag) {
  channel_->NotifyOnStateChange(last, deadline, queue, tag);
}

bool OwnChannel::WaitForStateChangeImpl(grpc_connectivity_state last, gpr_timespec deadline) {
  return channel_->WaitForStateChange(last, deadline);
}

grpc::CompletionQueue* OwnChannel::CallbackCQ() {
  return Behind::Queue(*channel_);
}

}  // namespace diptych
