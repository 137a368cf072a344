// Identifies callers by API key.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/hash.h"

namespace diptych::gateway {

inline constexpr int kMaxApiKeys = 10'000;
inline constexpr int64_t kMaxApiKeyFileBytes = 4 << 20;
inline constexpr size_t kMaxApiKeyBytes = 256;

// The limits of one key. 0 means none of its own.
struct KeyLimits {
  int max_inflight = 0;           // questions being answered or waiting
  int64_t tokens_per_minute = 0;  // of prompts and answers
};

struct ApiKey {
  std::string name;  // the operator's word for it; shown in logs only
  Sha256Digest sha256 = {};
  KeyLimits limits;
};

// The caller of a request. Null where no keys are required: then all callers are one.
using Caller = std::shared_ptr<const ApiKey>;

// A set of keys, kept as hashes only. Immutable, so thread-safe.
class ApiKeys {
 public:
  // Reads
  //   {"salt": "<8 to 64 letters and digits>",
  //    "defaults": {"max_inflight": 8, "tokens_per_minute": 60000},
  //    "keys": {"alice": {"sha256": "<64 hexadecimal digits>", "max_inflight": 2}, ...}}
  // in which salt and limits may be absent; hashes are of the salt and the key after it. INVALID_ARGUMENT, saying what
  // is wrong where, for anything else: an unknown word, no key at all, more than kMaxApiKeys, a hash that two names
  // share, a limit that is not a whole number from 1 up.
  static absl::StatusOr<ApiKeys> Parse(std::string_view text);

  // The key that `presented` is, or null. Compares with every key, whichever it is.
  Caller Find(std::string_view presented) const;

  int size() const { return static_cast<int>(keys_.size()); }

 private:
  std::string salt_;  // one for all, so that a call costs one hash however many keys there are
  std::vector<Caller> keys_;
};

class ApiKeyFile;

// Identifies callers by the keys of a file. Thread-safe.
class Callers {
 public:
  // Null: no keys are asked for, and everybody is the same caller.
  explicit Callers(std::unique_ptr<ApiKeyFile> file);
  ~Callers();

  // `authorization`: "Bearer KEY". UNAUTHENTICATED with INVALID_API_KEY if a key is asked for and this is none.
  absl::StatusOr<Caller> Identify(std::string_view authorization) const;
  // By the call's metadata.
  absl::StatusOr<Caller> Identify(const grpc::ServerContextBase& context) const;

  bool need_keys() const { return file_ != nullptr; }
  // The number of keys; at least 1.
  int count() const;

 private:
  const std::unique_ptr<ApiKeyFile> file_;
};

}  // namespace diptych::gateway
