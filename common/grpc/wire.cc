#include "common/grpc/wire.h"

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
#include "common/text/utf8.h"

namespace diptych {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Deeper than any message of ours.
constexpr int kMaxDepth = 16;
// Memory of a field beyond its bytes: the largest message that can be repeated has 192, and its list up to twice a
// pointer.
constexpr int64_t kBytesPerField = 208;
// Memory of one of many numbers: 8 bytes, twice while their field grows.
constexpr int64_t kBytesPerNumber = 16;

absl::Status TooMany(int most, const char* what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kMalformedRequest,
                   absl::StrCat("the request has more than ", most, " ", what));
}

absl::Status Malformed() {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kMalformedRequest,
                   "the request is not a well-formed message; is it compressed?");
}

// Walks over a message's wire form.
class WireScan {
 public:
  explicit WireScan(CodedInputStream& in) : in_(in) {}

  absl::Status Message(const Descriptor& type, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Malformed();
    while (const uint32_t tag = in_.ReadTag()) {
      const int number = WireFormatLite::GetTagFieldNumber(tag);
      if (number == 0) return Malformed();
      const FieldDescriptor* const field = type.FindFieldByNumber(number);
      const auto wire_type = WireFormatLite::GetTagWireType(tag);
      const bool is_one_of_many =
          field != nullptr && field->is_packable() && wire_type != WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      DIPTYCH_RETURN_IF_ERROR(is_one_of_many ? CountNumbers(1) : CountField());
      DIPTYCH_RETURN_IF_ERROR(Field(field, wire_type, path, depth));
    }
    return in_.ConsumedEntireMessage() ? absl::OkStatus() : Malformed();
  }

  // Memory that the fields may take beyond their bytes.
  int64_t memory() const { return fields_ * kBytesPerField + numbers_ * kBytesPerNumber; }

 private:
  absl::Status CountField() {
    return ++fields_ > kMaxWireFields ? TooMany(kMaxWireFields, "fields") : absl::OkStatus();
  }
  absl::Status CountNumbers(int64_t numbers) {
    numbers_ += numbers;
    return numbers_ > kMaxWireNumbers ? TooMany(kMaxWireNumbers, "numbers in its fields") : absl::OkStatus();
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
    if (field != nullptr && field->is_packable()) return Numbers(field->type(), length);
    const bool short_text =
        field != nullptr && field->type() == FieldDescriptor::TYPE_STRING && length <= kMaxTextRequestBytes;
    if (!short_text) return in_.Skip(length) ? absl::OkStatus() : Malformed();
    std::string text;
    if (!in_.ReadString(&text, length)) return Malformed();
    return IsValidUtf8(text) ? absl::OkStatus() : InvalidField(reason::kTextEncoding, inner, "text must be UTF-8");
  }

  // Packed ones, in so many bytes.
  absl::Status Numbers(FieldDescriptor::Type type, int length) {
    const auto wire_type = WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(type));
    const auto limit = in_.PushLimit(length);
    while (in_.BytesUntilLimit() > 0) {
      DIPTYCH_RETURN_IF_ERROR(CountNumbers(1));
      DIPTYCH_RETURN_IF_ERROR(Field(nullptr, wire_type, "", 0));
    }
    const bool whole = in_.BytesUntilLimit() == 0;
    in_.PopLimit(limit);
    return whole ? absl::OkStatus() : Malformed();
  }

  CodedInputStream& in_;
  int64_t fields_ = 0;
  int64_t numbers_ = 0;
};

// Looks through a request, and keeps nothing of it. What its fields may take beyond their bytes.
absl::StatusOr<int64_t> CheckWire(const grpc::ByteBuffer& bytes, const Descriptor& type) {
  grpc::ByteBuffer shared = bytes;  // counts references; the bytes are not copied
  if (shared.Length() == 0) return 0;
  grpc::ProtoBufferReader reader(&shared);
  CodedInputStream stream(&reader);
  WireScan scan(stream);
  DIPTYCH_RETURN_IF_ERROR(scan.Message(type, "", 0));
  return scan.memory();
}

absl::Status Parse(const grpc::ByteBuffer& bytes, google::protobuf::Message& message,
                   const std::function<absl::Status(int64_t)>& grow) {
  DIPTYCH_ASSIGN_OR_RETURN(const int64_t memory, CheckWire(bytes, *message.GetDescriptor()));
  if (grow) DIPTYCH_RETURN_IF_ERROR(grow(memory));
  grpc::ByteBuffer shared = bytes;
  const grpc::Status parsed =
      grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&shared, &message);
  return parsed.ok() ? absl::OkStatus() : Malformed();
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  return Parse(bytes, message, nullptr);
}

absl::Status CheckTextRequest(const grpc::ByteBuffer& bytes) {
  if (static_cast<int64_t>(bytes.Length()) <= kMaxTextRequestBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a request without images takes at most ", kMaxTextRequestBytes, " bytes"));
}

absl::Status ParseTextRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  const absl::Status checked = CheckTextRequest(bytes);
  return checked.ok() ? ParseMessage(bytes, message) : checked;
}

absl::Status ParseShortRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  if (static_cast<int64_t>(bytes.Length()) > kMaxShortRequestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("this method takes requests of at most ", kMaxShortRequestBytes, " bytes"));
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
