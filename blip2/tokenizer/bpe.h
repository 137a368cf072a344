// Byte-pair encoding: which neighbours become one token, and in what order.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace diptych::blip2 {

// Thread-compatible; thread-safe once filled.
class MergeTable {
 public:
  // `left` and `right` side by side become `result`; lower ranks come first. False if the pair is there already.
  bool Add(int32_t left, int32_t right, int32_t rank, int32_t result);

  // Merges neighbours in `tokens` until no pair is left, the lowest rank first and the leftmost among
  // equals, as Hugging Face tokenizers does. O(n log n).
  void Apply(std::vector<int32_t>& tokens) const;

 private:
  struct Merge {
    int32_t rank = 0;
    int32_t result = 0;
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  absl::flat_hash_map<uint64_t, Merge> merges_;
};

}  // namespace diptych::blip2
