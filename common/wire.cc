#include "common/wire.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/status.h"
#include "common/utf8.h"

namespace diptych {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Deeper than any message of ours.
constexpr int kMaxDepth = 16;
// What a field may take beyond its bytes.
constexpr int64_t kFieldBytes = 128;
// Bytes of packed numbers that take no more memory than a field may: a byte becomes 8 at most, twice while it grows.
constexpr int kPackedInAField = kFieldBytes / 16;

absl::Status Malformed() {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kMalformedRequest,
                   "the request is not a well-formed message");
}

// Walks over a message's wire form.
class WireScan {
 public:
  explicit WireScan(CodedInputStream& in) : in_(in) {}

  absl::Status Message(const Descriptor& type, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Malformed();
    while (const uint32_t tag = in_.ReadTag()) {
      DIPTYCH_RETURN_IF_ERROR(Count(1));
      const int number = WireFormatLite::GetTagFieldNumber(tag);
      if (number == 0) return Malformed();
      DIPTYCH_RETURN_IF_ERROR(Field(type.FindFieldByNumber(number), WireFormatLite::GetTagWireType(tag), path, depth));
    }
    return in_.ConsumedEntireMessage() ? absl::OkStatus() : Malformed();
  }

  int fields() const { return fields_; }

 private:
  absl::Status Count(int fields) {
    if (fields > kMaxWireFields - fields_) {
      return MakeError(absl::StatusCode::kInvalidArgument, reason::kMalformedRequest,
                       absl::StrCat("the request has more than ", kMaxWireFields, " fields"));
    }
    fields_ += fields;
    return absl::OkStatus();
  }

  // `field` is null for one that the type does not have.
  absl::Status Field(const FieldDescriptor* field, WireFormatLite::WireType wire_type, const std::string& path,
                     int depth) {
    uint64_t number = 0;
    uint32_t half = 0;
    switch (wire_type) {
      case WireFormatLite::WIRETYPE_VARINT:
        return in_.ReadVarint64(&number) ? absl::OkStatus() : Malformed();
      case WireFormatLite::WIRETYPE_FIXED64:
        return in_.ReadLittleEndian64(&number) ? absl::OkStatus() : Malformed();
      case WireFormatLite::WIRETYPE_FIXED32:
        return in_.ReadLittleEndian32(&half) ? absl::OkStatus() : Malformed();
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        return Bytes(field, path, depth);
      default:
        return Malformed();  // groups, which no message of ours has
    }
  }

  absl::Status Bytes(const FieldDescriptor* field, const std::string& path, int depth) {
    int length = 0;
    if (!in_.ReadVarintSizeAsInt(&length)) return Malformed();
    const std::string inner = field == nullptr ? "" : absl::StrCat(path, path.empty() ? "" : ".", field->name());
    if (field != nullptr && field->type() == FieldDescriptor::TYPE_MESSAGE) {
      const auto limit = in_.PushLimit(length);
      DIPTYCH_RETURN_IF_ERROR(Message(*field->message_type(), inner, depth + 1));
      const bool whole = in_.BytesUntilLimit() == 0;
      in_.PopLimit(limit);
      return whole ? absl::OkStatus() : Malformed();
    }
    if (field != nullptr && field->is_packable()) DIPTYCH_RETURN_IF_ERROR(Count(length / kPackedInAField));
    const bool short_text =
        field != nullptr && field->type() == FieldDescriptor::TYPE_STRING && length <= kMaxTextRequestBytes;
    if (!short_text) return in_.Skip(length) ? absl::OkStatus() : Malformed();
    std::string text;
    if (!in_.ReadString(&text, length)) return Malformed();
    return IsValidUtf8(text) ? absl::OkStatus() : InvalidField(reason::kTextEncoding, inner, "text must be UTF-8");
  }

  CodedInputStream& in_;
  int fields_ = 0;
};

// Looks through a request, and keeps nothing of it. The number of its fields.
absl::StatusOr<int> CheckWire(const grpc::ByteBuffer& bytes, const Descriptor& type) {
  grpc::ByteBuffer shared = bytes;  // counts references; the bytes are not copied
  if (shared.Length() == 0) return 0;
  grpc::ProtoBufferReader reader(&shared);
  CodedInputStream stream(&reader);
  WireScan scan(stream);
  DIPTYCH_RETURN_IF_ERROR(scan.Message(type, "", 0));
  return scan.fields();
}

absl::Status Parse(const grpc::ByteBuffer& bytes, google::protobuf::Message& message,
                   const std::function<absl::Status(int64_t)>& grow) {
  DIPTYCH_ASSIGN_OR_RETURN(const int fields, CheckWire(bytes, *message.GetDescriptor()));
  if (grow) DIPTYCH_RETURN_IF_ERROR(grow(fields * kFieldBytes));
  grpc::ByteBuffer shared = bytes;
  const grpc::Status parsed =
      grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&shared, &message);
  return parsed.ok() ? absl::OkStatus() : Malformed();
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  return Parse(bytes, message, nullptr);
}

absl::Status ParseTextRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  if (static_cast<int64_t>(bytes.Length()) > kMaxTextRequestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a request without images takes at most ", kMaxTextRequestBytes, " bytes"));
  }
  return ParseMessage(bytes, message);
}

absl::Status TakeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message,
                         const std::function<absl::Status(int64_t)>& grow) {
  const absl::Status status = Parse(bytes, message, grow);
  const_cast<grpc::ByteBuffer&>(bytes).Clear();  // gRPC's object is not const, and it reads it no more
  return status;
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own_buffer = false;
  grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(message, &bytes, &own_buffer);
  return bytes;
}

}  // namespace diptych
