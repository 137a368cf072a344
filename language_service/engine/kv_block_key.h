// The content of a KV block, as a key: two blocks with one key hold the same keys and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/hash.h"

namespace diptych::language {

using KvBlockKey = Sha256Digest;

struct KvBlockKeyHash {
  size_t operator()(const KvBlockKey& key) const {
    size_t hash = 0;
    std::memcpy(&hash, key.data(), sizeof(hash));  // any part of a digest is as good as another
    return hash;
  }
};

// The keys of a sequence's full blocks. Each is a SHA-256 over the key before it, the block's token ids, and the keys
// of the images whose query tokens lie in the block, since all placeholders have one id. Sequences with different salts
// share no key. Thread-compatible.
class KvBlockChain {
 public:
  // The images stand at the front of the sequence, `query_tokens` places each.
  KvBlockChain(int64_t block_tokens, int64_t query_tokens, std::vector<std::string> image_keys,
               std::string cache_salt = "");

  void Append(std::span<const int64_t> ids);
  // One for each full block, first block first.
  std::span<const KvBlockKey> keys() const { return keys_; }

 private:
  KvBlockKey NextKey() const;

  const int64_t block_tokens_;
  const int64_t query_tokens_;
  const std::vector<std::string> image_keys_;
  const std::string cache_salt_;
  std::vector<KvBlockKey> keys_;
  std::vector<int64_t> open_;  // ids of the block that is not full yet
};

}  // namespace diptych::language
