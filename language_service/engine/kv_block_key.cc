#include "language_service/engine/kv_block_key.h"

#include <string_view>
#include <utility>

namespace diptych::language {

KvBlockChain::KvBlockChain(int64_t block_tokens, int64_t query_tokens, std::vector<std::string> image_keys,
                           std::string cache_salt)
    : block_tokens_(block_tokens),
      query_tokens_(query_tokens),
      image_keys_(std::move(image_keys)),
      cache_salt_(std::move(cache_salt)) {}

void KvBlockChain::Append(std::span<const int64_t> ids) {
  for (const int64_t id : ids) {
    open_.push_back(id);
    if (static_cast<int64_t>(open_.size()) < block_tokens_) continue;
    keys_.push_back(NextKey());
    open_.clear();
  }
}

KvBlockKey KvBlockChain::NextKey() const {
  const auto bytes = [](const auto* data, size_t count) {
    return std::string_view(reinterpret_cast<const char*>(data), count * sizeof(*data));
  };
  Sha256 hash;
  if (keys_.empty() && !cache_salt_.empty()) hash.UpdateField(cache_salt_);
  if (!keys_.empty()) hash.Update(bytes(keys_.back().data(), keys_.back().size()));
  hash.UpdateField(bytes(open_.data(), open_.size()));
  const int64_t begin = static_cast<int64_t>(keys_.size()) * block_tokens_;
  const int64_t end = begin + block_tokens_;
  for (int64_t i = begin / query_tokens_; i * query_tokens_ < end; ++i) {
    if (i >= static_cast<int64_t>(image_keys_.size())) break;
    hash.UpdateField(image_keys_[i]);
  }
  return hash.Finish();
}

}  // namespace diptych::language
