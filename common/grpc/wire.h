// Messages from and to the wire, for methods that parse their own requests.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace diptych {

// Fields that a request may have, those of its messages included: each may take much more memory than the two bytes
// that it has on the wire. A question of kMaxTurns turns and kMaxLogitBiases biases has 5,120.
inline constexpr int kMaxWireFields = 8192;
// Numbers in repeated fields, packed or not, which take no more than 16 bytes each: twice kMaxPromptTokenIds.
inline constexpr int kMaxWireNumbers = 128 << 10;
// A request without images.
inline constexpr int64_t kMaxTextRequestBytes = 1 << 20;
// One that anybody may send: a few words.
inline constexpr int64_t kMaxShortRequestBytes = 4 << 10;

// Parses what it has looked through before: nothing of it takes memory if it is refused. INVALID_ARGUMENT: with reason
// TEXT_ENCODING and the path of the field for text that is not UTF-8, where gRPC itself would end the call with
// UNIMPLEMENTED and no word of why; with MALFORMED_REQUEST for more than kMaxWireFields or kMaxWireNumbers and for
// bytes that are no message of this type.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// INVALID_ARGUMENT for more than kMaxTextRequestBytes.
absl::Status CheckTextRequest(const grpc::ByteBuffer& bytes);

// ParseMessage for at most kMaxTextRequestBytes. INVALID_ARGUMENT for more.
absl::Status ParseTextRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// ParseMessage for at most kMaxShortRequestBytes. INVALID_ARGUMENT for more.
absl::Status ParseShortRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// ParseMessage of a request as gRPC handed it to a method, whose bytes are then freed: gRPC itself would keep them
// besides the message until the call ends. `grow`, if it is given, is asked before the fields take memory for what they
// take beyond their bytes; its error is given.
absl::Status TakeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message,
                         const std::function<absl::Status(int64_t bytes)>& grow = nullptr);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace diptych
