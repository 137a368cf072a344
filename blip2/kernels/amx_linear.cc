#include "blip2/kernels/amx_linear.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <vector>

#include "blip2/kernels/outliers.h"
#include "blip2/kernels/share_out.h"

#define DIPTYCH_AMX __attribute__((target("amx-tile,amx-int8,avx512f")))

namespace diptych::blip2 {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileBytes = kTileRows * kTileInputs;
constexpr int64_t kSums = kTileRows * kPanel;
constexpr int64_t kDigit = 128;  // an activation of 14 bits is kDigit · high + low; both fit 8 bits with their sign
constexpr int64_t kStripTiles = 32;     // of rows, which stay in the L2 cache
constexpr int64_t kCacheInputs = 1024;  // of two panels, which stay in the L1 cache

// Rows as tiles, [tiles][inputs / 64][16][64]. Of 14 bits each 16 rows give two, the high digits' and the low ones'.
// What pads the last rows is 0.
struct RowTiles {
  std::vector<int8_t> bytes;
  int64_t tiles = 0;
  int64_t tile_bytes = 0;
  int64_t digits = 1;
  const int8_t* At(int64_t tile, int64_t input) const { return bytes.data() + tile * tile_bytes + input * kTileRows; }
};

// The place in a row's tile of the 64 inputs from `k` on.
int64_t Place(int64_t row, int64_t k) {
  return k * kTileRows + row % kTileRows * kTileInputs;
}

void SplitRow(const int16_t* from, int64_t row, int64_t padded, int8_t* high, int8_t* low) {
  for (int64_t k = 0; k < padded; k += kTileInputs) {
    for (int64_t i = 0; i < kTileInputs; ++i) {
      high[Place(row, k) + i] = static_cast<int8_t>(from[k + i] >> 7);
      low[Place(row, k) + i] = static_cast<int8_t>(from[k + i] & (kDigit - 1));
    }
  }
}

// Without the outliers' rests.
void CopyRow(const int16_t* from, int64_t row, int64_t padded, int8_t* to) {
  constexpr auto kMost = static_cast<int16_t>(MaxActivation(ActivationBits::k7));
  for (int64_t k = 0; k < padded; k += kTileInputs) {
    for (int64_t i = 0; i < kTileInputs; ++i) {
      to[Place(row, k) + i] = static_cast<int8_t>(std::clamp<int16_t>(from[k + i], -kMost, kMost));
    }
  }
}

RowTiles Arrange(const IntegerRows& x) {
  RowTiles tiles{
      .bytes = {}, .tiles = 0, .tile_bytes = x.padded * kTileRows, .digits = x.bits == ActivationBits::k14 ? 2 : 1};
  const int64_t heights = (x.rows + kTileRows - 1) / kTileRows;
  tiles.tiles = heights * tiles.digits;
  tiles.bytes.resize(static_cast<size_t>(tiles.tiles * tiles.tile_bytes));
  ShareOut(heights, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * kTileRows; row < std::min(end * kTileRows, x.rows); ++row) {
      int8_t* to = tiles.bytes.data() + row / kTileRows * tiles.digits * tiles.tile_bytes;
      const int16_t* from = x.values.data() + row * x.padded;
      if (tiles.digits == 2) {
        SplitRow(from, row, x.padded, to, to + tiles.tile_bytes);
      } else {
        CopyRow(from, row, x.padded, to);
      }
    }
  });
  return tiles;
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

// Adds to sums [2 panels, 2 tiles, 16, 16] the products of two tiles of rows with two panels, `steps` tiles of inputs
// each; overwrites them if `first`.
DIPTYCH_AMX void MultiplyPair(const int8_t* const (&rows)[2], const int8_t* const (&panels)[2], int64_t steps,
                              bool first, int32_t* sums) {
  constexpr int64_t kStride = kPanel * sizeof(int32_t);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    asm volatile("" ::: "memory");
    _tile_loadd(0, sums, kStride);
    _tile_loadd(1, sums + kSums, kStride);
    _tile_loadd(2, sums + 2 * kSums, kStride);
    _tile_loadd(3, sums + 3 * kSums, kStride);
  }
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = step * kTileBytes;
    _tile_loadd(6, panels[0] + at, kTileInputs);
    _tile_loadd(4, rows[0] + at, kTileInputs);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, rows[1] + at, kTileInputs);
    _tile_dpbssd(1, 5, 6);
    _tile_loadd(7, panels[1] + at, kTileInputs);
    _tile_dpbssd(2, 4, 7);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kSums, kStride);
  _tile_stored(2, sums + 2 * kSums, kStride);
  _tile_stored(3, sums + 3 * kSums, kStride);
  asm volatile("" ::: "memory");
}

// kDigit · high + low, over high. Fits: it is the sum that BlockInputs allows.
DIPTYCH_AMX void Join(int32_t* high, const int32_t* low) {
  for (int64_t i = 0; i < kSums; i += kPanel) {
    const __m512i shifted = _mm512_mullo_epi32(_mm512_loadu_si512(high + i), _mm512_set1_epi32(kDigit));
    _mm512_storeu_si512(high + i, _mm512_add_epi32(shifted, _mm512_loadu_si512(low + i)));
  }
}

// Where a block's sums go.
struct Target {
  const IntegerWeights& weights;
  const IntegerRows& x;
  bool first_block;
  bool last_block;
  float* y;
};

// As AddBlock and, after the last block, ScaleAndShift of block_sums.h, for a tile's rows from `row` on.
DIPTYCH_AMX void StoreSums(const Target& target, const int32_t* sums, int64_t row, int64_t panel) {
  const IntegerWeights& weights = target.weights;
  const int64_t output = panel * kPanel;
  const auto mask = static_cast<__mmask16>((1U << std::min(kPanel, weights.out - output)) - 1);
  const __m512 scales = _mm512_loadu_ps(weights.scales + output);
  const bool has_bias = weights.bias != nullptr;
  const __m512 bias = has_bias ? _mm512_maskz_loadu_ps(mask, weights.bias + output) : _mm512_setzero_ps();
  for (int64_t r = 0; r < std::min(kTileRows, target.x.rows - row); ++r) {
    float* to = target.y + (row + r) * weights.out + output;
    __m512 value = _mm512_maskz_cvtepi32_ps(mask, _mm512_loadu_si512(sums + r * kPanel));
    if (!target.first_block) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), value);
    if (target.last_block) {
      value = _mm512_mul_ps(value, _mm512_mul_ps(scales, _mm512_set1_ps(target.x.scales[row + r])));
      if (has_bias) value = _mm512_add_ps(value, bias);
    }
    _mm512_mask_storeu_ps(to, mask, value);
  }
}

// Two panels at a time, for all rows.
class PanelPairs {
 public:
  PanelPairs(const IntegerWeights& weights, const IntegerRows& x, const RowTiles& tiles, float* y)
      : weights_(weights), x_(x), tiles_(tiles), y_(y), sums_(static_cast<size_t>(2 * kStripTiles * kSums)) {
    if (weights.type == IntegerType::kInt4) unpacked_.resize(static_cast<size_t>(2 * kCacheInputs * kPanel));
  }

  // Panels [begin, end).
  void Run(int64_t begin, int64_t end) {
    for (int64_t tile = 0; tile < tiles_.tiles; tile += kStripTiles) {
      for (int64_t panel = begin; panel < end; panel += 2) Strip(panel, tile);
    }
  }

 private:
  // Up to kStripTiles tiles of rows.
  void Strip(int64_t panel, int64_t tile) {
    const int64_t last = std::min(tile + kStripTiles, tiles_.tiles);
    const int64_t block = BlockInputs(x_.bits);
    for (int64_t begin = 0; begin < x_.padded; begin += block) {
      const int64_t end = std::min(begin + block, x_.padded);
      for (int64_t k = begin; k < end; k += kCacheInputs) {
        Multiply(panel, tile, last, k, std::min(k + kCacheInputs, end), /*first=*/k == begin);
      }
      Finish(panel, tile, last,
             {.weights = weights_, .x = x_, .first_block = begin == 0, .last_block = end == x_.padded, .y = y_});
    }
  }

  // Inputs [begin, end) of tiles [tile, last).
  void Multiply(int64_t panel, int64_t tile, int64_t last, int64_t begin, int64_t end, bool first) {
    const int8_t* const panels[2] = {Values(panel, begin, end, 0),
                                     Values(std::min(panel + 1, Panels(weights_.out) - 1), begin, end, 1)};
    int32_t* sums = sums_.data();
    for (; tile < last; tile += 2, sums += 4 * kSums) {
      const int8_t* const rows[2] = {tiles_.At(tile, begin), tiles_.At(std::min(tile + 1, last - 1), begin)};
      MultiplyPair(rows, panels, (end - begin) / kTileInputs, first, sums);
    }
  }

  void Finish(int64_t panel, int64_t tile, int64_t last, const Target& target) {
    int32_t* sums = sums_.data();
    for (; tile < last; tile += 2) {
      for (int64_t p = 0; p < 2; ++p, sums += 2 * kSums) {
        if (tiles_.digits == 2) Join(sums, sums + kSums);
        if (panel + p == Panels(weights_.out)) continue;
        StoreTile(target, sums, tile / tiles_.digits, panel + p);
        if (tiles_.digits == 1 && tile + 1 < last) StoreTile(target, sums + kSums, tile + 1, panel + p);
      }
    }
  }

  // The sums of rows of the height `tile`.
  void StoreTile(const Target& target, int32_t* sums, int64_t tile, int64_t panel) {
    const int64_t row = tile * kTileRows;
    if (tiles_.digits == 1 && target.first_block) {
      AddOutliers(weights_, x_, row, std::min(kTileRows, x_.rows - row), panel, sums);
    }
    StoreSums(target, sums, row, panel);
  }

  // int8's values of a panel's inputs; int4's are unpacked to `place`.
  const int8_t* Values(int64_t panel, int64_t begin, int64_t end, int64_t place) {
    if (weights_.type == IntegerType::kInt8) {
      return weights_.values + panel * PanelBytes(weights_.type, weights_.in) + begin * kPanel;
    }
    int8_t* to = unpacked_.data() + place * kCacheInputs * kPanel;
    UnpackInt4(weights_, panel, begin / kQuad, (end - begin) / kQuad, to);
    return to;
  }

  const IntegerWeights& weights_;
  const IntegerRows& x_;
  const RowTiles& tiles_;
  float* const y_;
  std::vector<int32_t> sums_;     // [pairs of tiles, 2 panels, 2 tiles, 16, 16]
  std::vector<int8_t> unpacked_;  // [2 panels, kCacheInputs, 16]
};

}  // namespace

void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const RowTiles tiles = Arrange(x);
  const int64_t pairs = (Panels(weights.out) + 1) / 2;
  ShareOut(pairs, 1, [&](int64_t begin, int64_t end) {
    const ConfiguredTiles configured;
    PanelPairs(weights, x, tiles, y).Run(2 * begin, std::min(2 * end, Panels(weights.out)));
  });
}

}  // namespace diptych::blip2

#else

namespace diptych::blip2 {

void MultiplyTiles(const IntegerWeights&, const IntegerRows&, float*) {}

}  // namespace diptych::blip2

#endif
