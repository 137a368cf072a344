// Tracks the holders of each block of the KV cache, and the blocks that others may reuse.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "language_service/engine/kv_block_key.h"

namespace diptych::language {

// Blocks are numbers; the owner has the tensors behind them. A block is free, held by one or more holders, or
// cached: without a holder, but published under a key and kept until the room is needed. Thread-compatible.
class KvBlockPool {
 public:
  explicit KvBlockPool(int32_t blocks);

  // A block for one holder, its content undefined: a free one, else the cached one that was released first. Nullopt if
  // every block is held.
  std::optional<int32_t> Allocate();
  // One more holder. Requires: held or cached.
  void Share(int32_t block);
  // One holder less; true if it was the last.
  bool Release(int32_t block);
  // More than one holder: to be copied before it is written.
  bool shared(int32_t block) const { return slots_[block].holders > 1; }
  int32_t holders(int32_t block) const { return slots_[block].holders; }

  // From now on Find(key) finds this block, whose content must not change any more. Does nothing if the key has a block
  // already, or the block a key. Requires: held.
  void Publish(int32_t block, const KvBlockKey& key);
  std::optional<int32_t> Find(const KvBlockKey& key) const;

  int32_t total() const { return static_cast<int32_t>(slots_.size()); }
  int32_t held() const { return total() - available(); }
  int32_t cached() const { return static_cast<int32_t>(cached_.size()); }
  // What Allocate can give.
  int32_t available() const { return static_cast<int32_t>(free_.size()) + cached(); }

 private:
  struct Slot {
    int32_t holders = 0;
    std::optional<KvBlockKey> key = {};
    std::list<int32_t>::iterator place = {};  // in cached_, if it has a key and no holder
  };

  std::vector<Slot> slots_;
  std::vector<int32_t> free_;
  std::list<int32_t> cached_;  // released first at the front
  std::unordered_map<KvBlockKey, int32_t, KvBlockKeyHash> published_;
};

}  // namespace diptych::language
