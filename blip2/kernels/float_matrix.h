// Matrices of floating point as a checkpoint has them.
#pragma once

#include <cstdint>
#include <vector>

namespace diptych::blip2 {

enum class WeightType { kFloat32, kBFloat16, kFloat16 };

// Some rows of a matrix, one after the other. Requires: `data` is aligned to its type.
struct RowBlock {
  WeightType type = WeightType::kFloat32;
  const void* data = nullptr;
  int64_t rows = 0;
};

// A matrix [out, in], its rows in the order of `blocks`.
struct FloatMatrix {
  std::vector<RowBlock> blocks;
  int64_t in = 0;

  int64_t out() const {
    int64_t rows = 0;
    for (const RowBlock& block : blocks) rows += block.rows;
    return rows;
  }
};

}  // namespace diptych::blip2
