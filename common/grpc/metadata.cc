#include "common/grpc/metadata.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace diptych {

namespace {

constexpr char kKeyName[] = "diptych-key-name";
constexpr char kPlace[] = "diptych-place";
constexpr size_t kMaxNameBytes = 128;

std::string NameIn(const grpc::ServerContextBase& context, const char* header) {
  const auto found = context.client_metadata().find(header);
  if (found == context.client_metadata().end() || found->second.size() > kMaxNameBytes) return "";
  std::string name(found->second.data(), found->second.size());
  return IsMetadataValue(name) ? name : "";
}

}  // namespace

bool IsMetadataValue(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::string HeaderText(std::string_view text) {
  return std::string(absl::StripAsciiWhitespace({text.data(), text.size()}));
}

void AddMetadata(grpc::ClientContext& context, const std::string& name, const std::string& value) {
  if (IsMetadataValue(value)) context.AddMetadata(name, HeaderText(value));
}

void AddTrailingMetadata(grpc::ServerContextBase& context, const std::string& name, const std::string& value) {
  if (IsMetadataValue(value)) context.AddTrailingMetadata(name, HeaderText(value));
}

size_t MetadataBytes(const grpc::ServerContextBase& context) {
  size_t bytes = 0;
  for (const auto& [name, value] : context.client_metadata()) bytes += name.size() + value.size() + 32;
  return bytes;
}

void SendKeyName(grpc::ClientContext& context, const std::string& name) {
  if (!name.empty()) AddMetadata(context, kKeyName, name);
}

std::string KeyNameOf(const grpc::ServerContextBase& context) {
  return NameIn(context, kKeyName);
}

void SendRequestId(grpc::ClientContext& context, const std::string& id) {
  if (!id.empty()) AddMetadata(context, kRequestId, id);
}

std::string RequestIdOf(const grpc::ServerContextBase& context) {
  return NameIn(context, kRequestId);
}

void SendPlace(grpc::ClientContext& context, const std::string& name) {
  AddMetadata(context, kPlace, name);
}

std::string PlaceOf(const grpc::ServerContextBase& context) {
  return NameIn(context, kPlace);
}

}  // namespace diptych
