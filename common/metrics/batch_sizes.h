// Passes of an engine, counted by batch size.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace diptych {

// 1, 2, up to 4, 8, 16, 32, 64, and more.
inline constexpr std::array<int64_t, 7> kBatchSizeBounds = {1, 2, 4, 8, 16, 32, 64};
using PassesByBatchSize = std::array<int64_t, kBatchSizeBounds.size() + 1>;

// Where a pass of `size` is counted.
inline size_t BatchSizeBucket(int64_t size) {
  return std::lower_bound(kBatchSizeBounds.begin(), kBatchSizeBounds.end(), size) - kBatchSizeBounds.begin();
}

// As a histogram's bounds.
inline std::vector<double> BatchSizeBuckets() {
  return {kBatchSizeBounds.begin(), kBatchSizeBounds.end()};
}

}  // namespace diptych
