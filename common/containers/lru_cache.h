// Remembers what was used last, within a bound in bytes.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace diptych {

// `Value` is cheap to copy and empty by default: a shared_ptr. Thread-compatible.
template <typename Value>
class LruCache {
 public:
  // 0 keeps nothing.
  explicit LruCache(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  LruCache(const LruCache&) = delete;
  LruCache& operator=(const LruCache&) = delete;

  // The value, which counts as used now; Value() if there is none.
  Value Get(const std::string& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return Value();
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->value;
  }

  // Keeps `value` in place of an older one; what was not used for longest makes room. A value over the whole limit is
  // not kept. `bytes` is what keeping it costs.
  void Put(const std::string& key, Value value, int64_t bytes) {
    Erase(key);
    if (bytes > limit_bytes_) return;
    while (bytes_ > limit_bytes_ - bytes) Erase(entries_.back().key);
    entries_.push_front({key, std::move(value), bytes});
    index_[key] = entries_.begin();
    bytes_ += bytes;
  }

  int64_t bytes() const { return bytes_; }
  int64_t limit_bytes() const { return limit_bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    Value value;
    int64_t bytes;
  };

  // By value: `key` may be part of the entry.
  void Erase(std::string key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    bytes_ -= found->second->bytes;
    entries_.erase(found->second);
    index_.erase(found);
  }

  const int64_t limit_bytes_;
  int64_t bytes_ = 0;
  std::list<Entry> entries_;  // used last first
  std::unordered_map<std::string, typename std::list<Entry>::iterator> index_;
};

}  // namespace diptych
