#include "blip2/kernels/amx_linear.h"

#if defined(__x86_64__)

#include <ATen/Parallel.h>
#include <immintrin.h>

#include <algorithm>
#include <vector>

#include "blip2/kernels/block_sums.h"

#define DIPTYCH_AMX __attribute__((target("amx-tile,amx-int8")))

namespace diptych::blip2 {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileBytes = kTileRows * kTileInputs;
constexpr int64_t kSums = kTileRows * kPanel;
constexpr int64_t kDigit = 128;  // an activation is kDigit · high + low; both fit 8 bits with their sign

// The rows' digits, tile after tile: [row tiles][inputs / 64][16][64]. What pads the last tile is 0.
struct Digits {
  std::vector<int8_t> high;
  std::vector<int8_t> low;
  int64_t tiles = 0;  // of rows
  int64_t row_tile_bytes = 0;
};

Digits Split(const IntegerRows& x) {
  Digits digits;
  digits.tiles = (x.rows + kTileRows - 1) / kTileRows;
  digits.row_tile_bytes = x.padded * kTileRows;
  digits.high.resize(static_cast<size_t>(digits.tiles * digits.row_tile_bytes));
  digits.low.resize(digits.high.size());
  at::parallel_for(0, digits.tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * kTileRows; row < std::min(end * kTileRows, x.rows); ++row) {
      const int64_t to = row / kTileRows * digits.row_tile_bytes + row % kTileRows * kTileInputs;
      for (int64_t k = 0; k < x.padded; k += kTileInputs) {
        const int16_t* from = x.values.data() + row * x.padded + k;
        int8_t* high = digits.high.data() + to + k / kTileInputs * kTileBytes;
        int8_t* low = digits.low.data() + to + k / kTileInputs * kTileBytes;
        for (int64_t i = 0; i < kTileInputs; ++i) {
          high[i] = static_cast<int8_t>(from[i] >> 7);
          low[i] = static_cast<int8_t>(from[i] & (kDigit - 1));
        }
      }
    }
  });
  return digits;
}

struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The compiler takes these instructions to touch 8 bytes of the 64, so it must not move what writes or reads the rest.
DIPTYCH_AMX void Load(const TileConfiguration& configuration) {
  asm volatile("" ::: "memory");
  _tile_loadconfig(&configuration);
}
DIPTYCH_AMX void Store(TileConfiguration& configuration) {
  asm volatile("" ::: "memory");
  _tile_storeconfig(&configuration);
  asm volatile("" ::: "memory");
}

// Eight tiles of 16 rows of 64 bytes for this thread. Afterwards they are as they were: libtorch's own products use
// tiles, too, and may count on what they configured.
class ConfiguredTiles {
 public:
  ConfiguredTiles() {
    Store(before_);
    Load(TileConfiguration());
  }
  ~ConfiguredTiles() { Load(before_); }
  ConfiguredTiles(const ConfiguredTiles&) = delete;
  ConfiguredTiles& operator=(const ConfiguredTiles&) = delete;

 private:
  TileConfiguration before_;
};

// Sums of `steps` tiles of inputs of one tile of rows with two panels: high and low digits of the first, then of the
// second, in sums [4, 16, 16].
DIPTYCH_AMX void MultiplyTwoPanels(const int8_t* high, const int8_t* low, const int8_t* first, const int8_t* second,
                                   int64_t steps, int32_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = step * kTileBytes;
    _tile_loadd(6, first + at, kTileInputs);
    _tile_loadd(4, high + at, kTileInputs);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, low + at, kTileInputs);
    _tile_dpbssd(1, 5, 6);
    _tile_loadd(7, second + at, kTileInputs);
    _tile_dpbssd(2, 4, 7);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums, kPanel * sizeof(int32_t));
  _tile_stored(1, sums + kSums, kPanel * sizeof(int32_t));
  _tile_stored(2, sums + 2 * kSums, kPanel * sizeof(int32_t));
  _tile_stored(3, sums + 3 * kSums, kPanel * sizeof(int32_t));
}

// kDigit · high + low, over high. Fits: it is the sum that kBlock allows.
void Join(int32_t* high, const int32_t* low) {
  for (int64_t i = 0; i < kSums; ++i) high[i] = high[i] * static_cast<int32_t>(kDigit) + low[i];
}

// Panels [begin, end) of the product.
class PanelPairs {
 public:
  PanelPairs(const IntegerWeights& weights, const IntegerRows& x, const Digits& digits, float* y)
      : weights_(weights), x_(x), digits_(digits), y_(y) {
    if (weights.type == IntegerType::kInt4) unpacked_.resize(static_cast<size_t>(2 * kBlock * kPanel));
  }

  void Run(int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; panel += 2) {
      const bool single = panel + 1 == end;
      for (int64_t k = 0; k < x_.padded; k += kBlock) Block(panel, single, k, std::min(k + kBlock, x_.padded));
      ScaleAndShift(weights_, x_, panel, y_);
      if (!single) ScaleAndShift(weights_, x_, panel + 1, y_);
    }
  }

 private:
  void Block(int64_t panel, bool single, int64_t begin, int64_t end) {
    const int8_t* first = Values(panel, begin, end, 0);
    const int8_t* second = single ? first : Values(panel + 1, begin, end, kBlock * kPanel);
    alignas(64) int32_t sums[4 * kSums];
    for (int64_t tile = 0; tile < digits_.tiles; ++tile) {
      const int64_t at = tile * digits_.row_tile_bytes + begin * kTileRows;
      MultiplyTwoPanels(digits_.high.data() + at, digits_.low.data() + at, first, second, (end - begin) / kTileInputs,
                        sums);
      const int64_t row = tile * kTileRows;
      const int64_t rows = std::min(kTileRows, x_.rows - row);
      Join(sums, sums + kSums);
      AddBlock(sums, row, rows, panel, weights_.out, begin == 0, y_);
      if (single) continue;
      Join(sums + 2 * kSums, sums + 3 * kSums);
      AddBlock(sums + 2 * kSums, row, rows, panel + 1, weights_.out, begin == 0, y_);
    }
  }

  // int8's values of a panel's block; int4's are unpacked to `place`.
  const int8_t* Values(int64_t panel, int64_t begin, int64_t end, int64_t place) {
    if (weights_.type == IntegerType::kInt8) {
      return weights_.values + panel * PanelBytes(weights_.type, weights_.in) + begin * kPanel;
    }
    UnpackInt4(weights_, panel, begin / kQuad, (end - begin) / kQuad, unpacked_.data() + place);
    return unpacked_.data() + place;
  }

  const IntegerWeights& weights_;
  const IntegerRows& x_;
  const Digits& digits_;
  float* const y_;
  std::vector<int8_t> unpacked_;
};

}  // namespace

void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const Digits digits = Split(x);
  const int64_t pairs = (Panels(weights.out) + 1) / 2;
  at::parallel_for(0, pairs, 1, [&](int64_t begin, int64_t end) {
    const ConfiguredTiles tiles;
    PanelPairs(weights, x, digits, y).Run(2 * begin, std::min(2 * end, Panels(weights.out)));
  });
}

}  // namespace diptych::blip2

#else

namespace diptych::blip2 {

void MultiplyTiles(const IntegerWeights&, const IntegerRows&, float*) {}

}  // namespace diptych::blip2

#endif
