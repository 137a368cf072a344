// Messages from and to the wire, for methods that parse their own requests.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"

namespace diptych {

// Where gRPC parses a request, text that is not UTF-8 ends the call with UNIMPLEMENTED and no word of why.
// This gives INVALID_ARGUMENT: with reason TEXT_ENCODING and the path of the field for such text, with
// MALFORMED_REQUEST for more than 4,096 fields, those of inner messages included, and for bytes that are no message of
// this type.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// ParseMessage of a request as gRPC handed it to a method, whose bytes are then let go: gRPC itself would keep them
// beside the message until the call ends.
absl::Status TakeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace diptych
