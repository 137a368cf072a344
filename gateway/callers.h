// Who asks.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "gateway/api_key_file.h"
#include "gateway/api_keys.h"

namespace diptych::gateway {

// Thread-safe.
class Callers {
 public:
  // Null: no keys are asked for, and everybody is the same caller.
  explicit Callers(std::unique_ptr<ApiKeyFile> file) : file_(std::move(file)) {}

  // `authorization`: "Bearer KEY". UNAUTHENTICATED with INVALID_API_KEY if a key is asked for and this is none.
  absl::StatusOr<Caller> Identify(std::string_view authorization) const;
  // By the call's metadata.
  absl::StatusOr<Caller> Identify(const grpc::ServerContextBase& context) const;

  bool need_keys() const { return file_ != nullptr; }
  // How many there are; at least 1.
  int count() const;

 private:
  const std::unique_ptr<ApiKeyFile> file_;
};

}  // namespace diptych::gateway
