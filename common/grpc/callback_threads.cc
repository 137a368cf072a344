#include "common/grpc/callback_threads.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <latch>

namespace diptych {
namespace {

// A channel that leads nowhere, once a call on it has ended.
grpc::GenericStub* MakeUser() {
  auto* stub = new grpc::GenericStub(grpc::CreateChannel("", nullptr));
  grpc::ClientContext context;
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  std::latch ended(1);
  stub->UnaryCall(&context, "/none", {}, &request, &response, [&ended](const grpc::Status&) { ended.count_down(); });
  ended.wait();
  return stub;
}

}  // namespace

void KeepCallbackThreads() {
  // Volatile, so that it is stored, and LeakSanitizer finds what it points to.
  [[maybe_unused]] static grpc::GenericStub* volatile user = MakeUser();
}

}  // namespace diptych
