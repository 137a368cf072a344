#include "common/wire.h"

#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/utf8.h"

namespace diptych {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownFieldSet;

// Deeper than any message of ours.
constexpr int kMaxDepth = 16;

// The path of the first text field that is not UTF-8, empty if there is none. Works on the wire form, since a
// message that holds such text does not parse.
std::string FindBadText(const Descriptor& type, const std::string& bytes, int depth) {
  UnknownFieldSet fields;
  if (depth > kMaxDepth || !fields.ParseFromString(bytes)) return "";
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& field = fields.field(i);
    const FieldDescriptor* descriptor = type.FindFieldByNumber(field.number());
    if (descriptor == nullptr || field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) continue;
    if (descriptor->type() == FieldDescriptor::TYPE_STRING && !IsValidUtf8(field.length_delimited())) {
      return descriptor->name();
    }
    if (descriptor->type() == FieldDescriptor::TYPE_MESSAGE) {
      const std::string inner = FindBadText(*descriptor->message_type(), field.length_delimited(), depth + 1);
      if (!inner.empty()) return absl::StrCat(descriptor->name(), ".", inner);
    }
  }
  return "";
}

std::string ToString(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!bytes.Dump(&slices).ok()) return text;
  text.reserve(bytes.Length());
  for (const auto& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  grpc::ByteBuffer shared = bytes;  // counts references; the bytes are not copied
  if (grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&shared, &message).ok()) {
    return absl::OkStatus();
  }
  const std::string bad_text = FindBadText(*message.GetDescriptor(), ToString(bytes), 0);
  if (!bad_text.empty()) return InvalidField(reason::kTextEncoding, bad_text, "text must be UTF-8");
  return absl::InvalidArgumentError("the request is not a well-formed message");
}

absl::Status TakeRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  const absl::Status status = ParseMessage(bytes, message);
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
