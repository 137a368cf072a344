#include "blip2/kernels/amx_linear.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "blip2/kernels/finish_sums.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

#define DIPTYCH_AMX __attribute__((target("amx-tile,amx-int8,avx512bw")))

namespace diptych::blip2 {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileBytes = kTileRows * kTileInputs;
constexpr int64_t kSums = kTileRows * kPanel;
constexpr int64_t kPair = 2;              // tiles of rows, and panels, that meet in one step
constexpr int64_t kStripBytes = 1 << 20;  // of rows, which stay in the L2 cache
constexpr int64_t kCacheInputs = 768;     // of two panels, which stay in the L1 cache

// The pieces of `whole`, as few of at most `most` as there can be, of one size but for the last; a multiple of `unit`.
constexpr int64_t Piece(int64_t whole, int64_t most, int64_t unit) {
  const int64_t pieces = (whole + most - 1) / most;
  return ((whole + pieces - 1) / pieces + unit - 1) / unit * unit;
}

// 64 inputs of a row, without the outliers' rests.
DIPTYCH_AMX void Narrow(const int16_t* from, int8_t* to) {
  constexpr auto kMost = static_cast<int16_t>(MaxActivation(ActivationBits::k7));
  for (int64_t k = 0; k < kTileInputs; k += kTileInputs / 2) {
    const __m512i values = _mm512_loadu_si512(from + k);
    const __m512i above = _mm512_max_epi16(values, _mm512_set1_epi16(-kMost));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), _mm512_cvtsepi16_epi8(above));  // at most 127
  }
}

// Rows as tiles, [tiles][padded / 64][16][64]. What pads the last rows is 0.
class RowTiles {
 public:
  explicit RowTiles(const IntegerRows& x)
      : tiles_((x.rows + kTileRows - 1) / kTileRows), padded_(x.padded), bytes_(tiles_ * kTileRows * padded_) {
    ShareOut(tiles_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) Arrange(x, tile);
    });
  }
  int64_t tiles() const { return tiles_; }
  int64_t padded() const { return padded_; }
  const int8_t* At(int64_t tile, int64_t input) const { return bytes_.data() + (tile * padded_ + input) * kTileRows; }

 private:
  void Arrange(const IntegerRows& x, int64_t tile) {
    int8_t* to = bytes_.data() + tile * padded_ * kTileRows;
    const int64_t rows = std::min(kTileRows, x.rows - tile * kTileRows);
    if (rows < kTileRows) std::memset(to, 0, padded_ * kTileRows);
    const int16_t* from = x.values.data() + tile * kTileRows * padded_;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < padded_; k += kTileInputs) {
        Narrow(from + r * padded_ + k, to + k * kTileRows + r * kTileInputs);
      }
    }
  }

  const int64_t tiles_;
  const int64_t padded_;
  Uninitialized<int8_t> bytes_;
};

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

// Adds to sums [2 tiles, 2 panels, 16, 16] the products of two tiles of rows with two panels, `steps` tiles of inputs
// each; overwrites them if `first`.
DIPTYCH_AMX void MultiplyTwo(const int8_t* const (&rows)[kPair], const int8_t* const (&panels)[kPair], int64_t steps,
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
    _tile_loadd(7, panels[1] + at, kTileInputs);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, rows[1] + at, kTileInputs);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kSums, kStride);
  _tile_stored(2, sums + 2 * kSums, kStride);
  _tile_stored(3, sums + 3 * kSums, kStride);
  asm volatile("" ::: "memory");
}

// The same for one tile of rows: sums [2 panels, 16, 16].
DIPTYCH_AMX void MultiplyOne(const int8_t* rows, const int8_t* const (&panels)[kPair], int64_t steps, bool first,
                             int32_t* sums) {
  constexpr int64_t kStride = kPanel * sizeof(int32_t);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    asm volatile("" ::: "memory");
    _tile_loadd(0, sums, kStride);
    _tile_loadd(1, sums + kSums, kStride);
  }
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = step * kTileBytes;
    _tile_loadd(4, rows + at, kTileInputs);
    _tile_loadd(6, panels[0] + at, kTileInputs);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, panels[1] + at, kTileInputs);
    _tile_dpbssd(1, 4, 7);
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kSums, kStride);
  asm volatile("" ::: "memory");
}

// Two panels with a strip of rows, which stays in the L2 cache.
class PanelPairs {
 public:
  PanelPairs(const IntegerWeights& weights, const IntegerRows& x, const RowTiles& tiles,
             const Epilogue<float>& epilogue, float* y)
      : weights_(weights), x_(x), tiles_(tiles), epilogue_(epilogue), y_(y), sums_(StripTiles(tiles) * kPair * kSums) {
    if (weights.type == IntegerType::kInt4) unpacked_.resize(static_cast<size_t>(kPair * kCacheInputs * kPanel));
  }

  static int64_t StripTiles(const RowTiles& tiles) {
    const int64_t most = std::max(kStripBytes / (tiles.padded() * kTileRows), kPair);
    return Piece(tiles.tiles(), most, kPair);
  }

  // Tiles [tile, last) of rows with the panels from `panel` on.
  void Run(int64_t panel, int64_t tile, int64_t last) {
    const int64_t step = Piece(x_.padded, kCacheInputs, kTileInputs);
    for (int64_t k = 0; k < x_.padded; k += step) Multiply(panel, tile, last, k, std::min(k + step, x_.padded));
    for (int64_t t = tile; t < last; ++t) Finish(panel, t, Sums(t - tile));
  }

 private:
  // Those of the strip's tile `tile`, [2 panels, 16, 16].
  int32_t* Sums(int64_t tile) { return sums_.data() + tile * kPair * kSums; }

  // Inputs [begin, end).
  void Multiply(int64_t panel, int64_t tile, int64_t last, int64_t begin, int64_t end) {
    const int64_t steps = (end - begin) / kTileInputs;
    const int8_t* const panels[kPair] = {Values(panel, begin, end, 0),
                                         Values(std::min(panel + 1, Panels(weights_.out) - 1), begin, end, 1)};
    int64_t t = tile;
    for (; t + kPair <= last; t += kPair) {
      const int8_t* const rows[kPair] = {tiles_.At(t, begin), tiles_.At(t + 1, begin)};
      MultiplyTwo(rows, panels, steps, begin == 0, Sums(t - tile));
    }
    if (t < last) MultiplyOne(tiles_.At(t, begin), panels, steps, begin == 0, Sums(t - tile));
  }

  void Finish(int64_t panel, int64_t tile, int32_t* sums) {
    const int64_t row = tile * kTileRows, rows = std::min(kTileRows, x_.rows - row);
    const int64_t last = std::min(panel + kPair, Panels(weights_.out));
    for (int64_t p = panel; p < last; ++p, sums += kSums) {
      FinishSums(weights_, x_, epilogue_, row, rows, p, sums, y_);
    }
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
  const Epilogue<float> epilogue_;
  float* const y_;
  Uninitialized<int32_t> sums_;     // [tiles of a strip, 2 panels, 16, 16]
  Uninitialized<int8_t> unpacked_;  // [2 panels, kCacheInputs, 16]
};

}  // namespace

void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y) {
  const RowTiles tiles(x);
  const int64_t pairs = (Panels(weights.out) + kPair - 1) / kPair;
  const int64_t strip = PanelPairs::StripTiles(tiles);
  const int64_t strips = (tiles.tiles() + strip - 1) / strip;
  ShareOut(strips * pairs, 1, [&](int64_t begin, int64_t end) {
    const ConfiguredTiles configured;
    PanelPairs panels(weights, x, tiles, epilogue, y);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t tile = i / pairs * strip;
      panels.Run(i % pairs * kPair, tile, std::min(tile + strip, tiles.tiles()));
    }
  });
}

}  // namespace diptych::blip2

#else

namespace diptych::blip2 {

void MultiplyTiles(const IntegerWeights&, const IntegerRows&, const Epilogue<float>&, float*) {}

}  // namespace diptych::blip2

#endif
