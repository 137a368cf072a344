#include "gateway/callers.h"

#include "common/status.h"
#include "gateway/reasons.h"

namespace diptych::gateway {

absl::StatusOr<Caller> Callers::Identify(std::string_view authorization) const {
  if (file_ == nullptr) return nullptr;
  const std::string_view key = BearerOf(authorization);
  if (key.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated, kInvalidApiKey,
                     "this server asks for an API key: send \"authorization: Bearer KEY\"");
  }
  Caller caller = file_->keys()->Find(key);
  if (caller == nullptr) {
    return MakeError(absl::StatusCode::kUnauthenticated, kInvalidApiKey,
                     "incorrect API key; ask the operator for one, or check that it was copied whole");
  }
  return caller;
}

absl::StatusOr<Caller> Callers::Identify(const grpc::ServerContextBase& context) const {
  const auto& metadata = context.client_metadata();
  const auto [begin, end] = metadata.equal_range("authorization");
  const bool one = begin != end && std::next(begin) == end;
  return Identify(one ? std::string_view(begin->second.data(), begin->second.size()) : std::string_view());
}

int Callers::count() const {
  return file_ == nullptr ? 1 : file_->keys()->size();
}

}  // namespace diptych::gateway
