#include "language_service/engine/kv_block_pool.h"

namespace diptych::language {

KvBlockPool::KvBlockPool(int32_t blocks) : slots_(blocks) {
  for (int32_t block = blocks - 1; block >= 0; --block) free_.push_back(block);
}

std::optional<int32_t> KvBlockPool::Allocate() {
  int32_t block = 0;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (!cached_.empty()) {
    block = cached_.front();
    cached_.pop_front();
    published_.erase(*slots_[block].key);
    slots_[block].key.reset();
  } else {
    return std::nullopt;
  }
  slots_[block].holders = 1;
  return block;
}

void KvBlockPool::Share(int32_t block) {
  Slot& slot = slots_[block];
  if (slot.holders++ == 0) cached_.erase(slot.place);
}

bool KvBlockPool::Release(int32_t block) {
  Slot& slot = slots_[block];
  if (--slot.holders > 0) return false;
  if (slot.key) {
    slot.place = cached_.insert(cached_.end(), block);
  } else {
    free_.push_back(block);
  }
  return true;
}

void KvBlockPool::Publish(int32_t block, const KvBlockKey& key) {
  Slot& slot = slots_[block];
  if (slot.key || !published_.emplace(key, block).second) return;
  slot.key = key;
}

std::optional<int32_t> KvBlockPool::Find(const KvBlockKey& key) const {
  const auto found = published_.find(key);
  if (found == published_.end()) return std::nullopt;
  return found->second;
}

}  // namespace diptych::language
