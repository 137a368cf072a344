#include "common/metadata.h"

#include <algorithm>

namespace diptych {

bool IsMetadataValue(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

void AddMetadata(grpc::ClientContext& context, const std::string& name, const std::string& value) {
  if (IsMetadataValue(value)) context.AddMetadata(name, value);
}

void AddTrailingMetadata(grpc::ServerContextBase& context, const std::string& name, const std::string& value) {
  if (IsMetadataValue(value)) context.AddTrailingMetadata(name, value);
}

}  // namespace diptych
