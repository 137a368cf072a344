// A checksum that goes with a request from process to process. TCP's own lets one spoilt packet in some ten thousand
// pass, and a spoilt image would be called its caller's fault.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

namespace diptych {

// Before the call is started with this request.
void SendChecksum(grpc::ClientContext& context, const google::protobuf::MessageLite& request);

// False if a checksum came and it is not the message's.
bool IsAsSent(const grpc::ServerContextBase& context, const grpc::ByteBuffer& message);

}  // namespace diptych
