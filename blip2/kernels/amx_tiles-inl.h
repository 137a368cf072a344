// Products by the tiles of AMX, of rows and panels that lie as tiles do: 1 KiB a tile, of 16 rows of 64 bytes. For
// sources of x86-64 alone. A test that emulates the instructions defines DIPTYCH_AMX_NAMESPACE, so that its functions
// are not taken for the real ones.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "blip2/kernels/integer_weights.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

#ifndef DIPTYCH_AMX_NAMESPACE
#define DIPTYCH_AMX_NAMESPACE amx
#endif

#define DIPTYCH_AMX __attribute__((target("amx-tile,amx-int8,amx-bf16,avx512bw")))

namespace diptych::blip2::DIPTYCH_AMX_NAMESPACE {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileRowBytes = 64;
constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;
constexpr int64_t kSums = kTileRows * kPanel;
constexpr int64_t kPair = 2;              // tiles of rows, and panels, that meet in one step
constexpr int64_t kStripTiles = 36;       // of rows: what two images make fits in
constexpr int64_t kChunkBytes = 1 << 20;  // of rows, which stay in the L2 cache
constexpr int64_t kCacheSteps = 12;       // tiles of two panels, which stay in the L1 cache

// The pieces of `whole`, as few of at most `most` as there can be, of one size but for the last; a multiple of `unit`.
constexpr int64_t Piece(int64_t whole, int64_t most, int64_t unit) {
  const int64_t pieces = (whole + most - 1) / most;
  return ((whole + pieces - 1) / pieces + unit - 1) / unit * unit;
}

struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The compiler takes these instructions to touch 8 bytes of the 64, so it must not move what writes or reads the rest,
// nor leave it out.
DIPTYCH_AMX inline void Load(const TileConfiguration& configuration) {
  asm volatile("" ::"r"(&configuration) : "memory");
  _tile_loadconfig(&configuration);
}
DIPTYCH_AMX inline void Store(TileConfiguration& configuration) {
  _tile_storeconfig(&configuration);
  asm volatile("" ::"r"(&configuration) : "memory");
}

// Eight tiles for this thread, of rows of 64 bytes: 0 to 3 for sums and 4 and 5 for `rows` rows, 6 and 7 for 16 of
// weights. Afterwards they are as they were: libtorch's own products use tiles, too, and may count on what they
// configured.
class ConfiguredTiles {
 public:
  explicit ConfiguredTiles(int64_t rows) {
    Store(before_);
    TileConfiguration configuration;
    std::fill_n(configuration.rows, 6, static_cast<uint8_t>(rows));
    Load(configuration);
  }
  ~ConfiguredTiles() { Load(before_); }
  ConfiguredTiles(const ConfiguredTiles&) = delete;
  ConfiguredTiles& operator=(const ConfiguredTiles&) = delete;

 private:
  TileConfiguration before_;
};

// Of the function's type Sum. Tiles are named by the instruction, so no function can have them as parameters.
#define DIPTYCH_ADD_PRODUCTS(sums, rows, panel) \
  if constexpr (std::is_same_v<Sum, float>) {   \
    _tile_dpbf16ps(sums, rows, panel);          \
  } else {                                      \
    _tile_dpbssd(sums, rows, panel);            \
  }

// Bytes of two panels to fetch into the L2 cache meanwhile, `lines` lines of each in a step.
struct Ahead {
  const std::byte* panels[kPair] = {};
  int64_t lines = 0;

  Ahead After(int64_t steps) const {
    const int64_t bytes = steps * lines * kTileRowBytes;
    return {.panels = {panels[0] + bytes, panels[1] + bytes}, .lines = lines};
  }
  void Fetch(int64_t step) const {
    for (int64_t line = step * lines; line < (step + 1) * lines; ++line) {
      _mm_prefetch(panels[0] + line * kTileRowBytes, _MM_HINT_T1);
      _mm_prefetch(panels[1] + line * kTileRowBytes, _MM_HINT_T1);
    }
  }
};

// Adds to sums [2 tiles, 2 panels, 16, 16] the products of two tiles of rows with two panels, `steps` tiles of inputs
// each; overwrites them if `first`. Sum is int32_t for bytes, four inputs in 32 bits, and float for pairs of bfloat16.
template <typename Sum>
DIPTYCH_AMX void MultiplyTwo(const std::byte* const (&rows)[kPair], const std::byte* const (&panels)[kPair],
                             int64_t steps, const Ahead& ahead, bool first, Sum* sums) {
  constexpr int64_t kStride = kPanel * sizeof(Sum);
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
    ahead.Fetch(step);
    _tile_loadd(6, panels[0] + at, kTileRowBytes);
    _tile_loadd(4, rows[0] + at, kTileRowBytes);
    DIPTYCH_ADD_PRODUCTS(0, 4, 6);
    _tile_loadd(7, panels[1] + at, kTileRowBytes);
    DIPTYCH_ADD_PRODUCTS(1, 4, 7);
    _tile_loadd(5, rows[1] + at, kTileRowBytes);
    DIPTYCH_ADD_PRODUCTS(2, 5, 6);
    DIPTYCH_ADD_PRODUCTS(3, 5, 7);
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kSums, kStride);
  _tile_stored(2, sums + 2 * kSums, kStride);
  _tile_stored(3, sums + 3 * kSums, kStride);
  asm volatile("" ::: "memory");
}

// The same for one tile of rows: sums [2 panels, 16, 16].
template <typename Sum>
DIPTYCH_AMX void MultiplyOne(const std::byte* rows, const std::byte* const (&panels)[kPair], int64_t steps,
                             const Ahead& ahead, bool first, Sum* sums) {
  constexpr int64_t kStride = kPanel * sizeof(Sum);
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
    ahead.Fetch(step);
    _tile_loadd(4, rows + at, kTileRowBytes);
    _tile_loadd(6, panels[0] + at, kTileRowBytes);
    DIPTYCH_ADD_PRODUCTS(0, 4, 6);
    _tile_loadd(7, panels[1] + at, kTileRowBytes);
    DIPTYCH_ADD_PRODUCTS(1, 4, 7);
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kSums, kStride);
  asm volatile("" ::: "memory");
}

#undef DIPTYCH_ADD_PRODUCTS

// Rows as tiles, [tiles][steps] of 1 KiB. What pads the last rows is 0.
class RowTiles {
 public:
  // arrange(row, to) writes all of a row's steps, 64 bytes each and 1 KiB apart.
  template <typename Arrange>
  RowTiles(int64_t rows, int64_t steps, const Arrange& arrange)
      : rows_(rows), steps_(steps), bytes_(tiles() * steps * kTileBytes) {
    ShareOut(tiles(), 1, [&](int64_t begin, int64_t end) {
      if (end * kTileRows > rows_) std::fill(Begin(end - 1), Begin(end), std::byte());
      for (int64_t row = begin * kTileRows; row < std::min(end * kTileRows, rows_); ++row) {
        arrange(row, Begin(row / kTileRows) + row % kTileRows * kTileRowBytes);
      }
    });
  }
  int64_t rows() const { return rows_; }
  int64_t steps() const { return steps_; }
  int64_t tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  const std::byte* At(int64_t tile, int64_t step) const { return bytes_.data() + (tile * steps_ + step) * kTileBytes; }

 private:
  std::byte* Begin(int64_t tile) { return bytes_.data() + tile * steps_ * kTileBytes; }

  const int64_t rows_;
  const int64_t steps_;
  Uninitialized<std::byte> bytes_;
};

// A strip of rows by a chunk of their steps, which stays in the L2 cache while all panels pass.
struct Chunk {
  int64_t tile, tiles;  // of rows
  int64_t step, steps;
};

// Two panels with a chunk. Panels says where a panel's tiles lie and what becomes of sums; one object a thread:
//   using Sum = int32_t or float
//   int64_t StepBytes() const;  // that a tile takes in memory
//   const std::byte* Source(int64_t panel, int64_t step) const;  // there; need not exist
//   bool Unpacks() const;  // whether tiles are made of what lies in memory
//   // place: 0 or 1, of the two; what lies at `next` is fetched meanwhile, if it unpacks
//   const std::byte* Tiles(int64_t panel, int64_t step, int64_t steps, int64_t place, const std::byte* next);
//   void Enter(const Chunk& chunk);  // which all following products are with
//   void Complete(int64_t row, int64_t rows, int64_t panel, Sum* sums);  // adds what the tiles leave out of a product
//   void Finish(int64_t row, int64_t rows, int64_t panel, const Sum* sums);  // sums [rows, kPanel]
template <typename Panels>
class PanelPair {
 public:
  using Sum = typename Panels::Sum;

  PanelPair(const RowTiles& rows, int64_t panels, const Panels& of, const Chunk& chunk)
      : rows_(rows), panels_(panels), of_(of), chunk_(chunk) {
    of_.Enter(chunk);
  }

  // The panels from `panel` on; adds to sums [tiles of the chunk, 2 panels, 16, 16], or writes them in the first chunk.
  void Multiply(int64_t panel, Sum* sums) {
    const int64_t most = Piece(chunk_.steps, kCacheSteps, 1), end = chunk_.step + chunk_.steps;
    for (int64_t step = chunk_.step; step < end; step += most) {
      const Chunk piece = {chunk_.tile, chunk_.tiles, step, std::min(most, end - step)};
      const bool last = step + most >= end;
      MultiplyPiece(piece, panel,
                    last ? AheadOf(piece, panel + kPair, chunk_.step) : AheadOf(piece, panel, step + most), sums);
    }
    ForTiles(panel, sums, [&](auto... tile) { of_.Complete(tile...); });
  }

  void Finish(int64_t panel, Sum* sums) {
    ForTiles(panel, sums, [&](auto... tile) { of_.Finish(tile...); });
  }

 private:
  // Calls use(row, rows, panel, sums) for all tiles of the two panels.
  template <typename Use>
  void ForTiles(int64_t panel, Sum* sums, const Use& use) const {
    for (int64_t tile = chunk_.tile; tile < chunk_.tile + chunk_.tiles; ++tile) {
      const int64_t row = tile * kTileRows, rows = std::min(kTileRows, rows_.rows() - row);
      for (int64_t p = panel; p < panel + kPair; ++p, sums += kSums) {
        if (p < panels_) use(row, rows, p, sums);
      }
    }
  }

  void MultiplyPiece(const Chunk& piece, int64_t panel, Ahead ahead, Sum* sums) {
    const bool first = piece.step == 0;
    const int64_t second = std::min(panel + 1, panels_ - 1);
    const std::byte* const panels[kPair] = {of_.Tiles(panel, piece.step, piece.steps, 0, ahead.panels[0]),
                                            of_.Tiles(second, piece.step, piece.steps, 1, ahead.panels[1])};
    if (of_.Unpacks()) ahead.lines = 0;
    const int64_t last = piece.tile + piece.tiles;
    int64_t t = piece.tile;
    for (; t + kPair <= last; t += kPair, sums += kPair * kPair * kSums) {
      const std::byte* const rows[kPair] = {rows_.At(t, piece.step), rows_.At(t + 1, piece.step)};
      MultiplyTwo(rows, panels, piece.steps, ahead, first, sums);
      ahead = ahead.After(piece.steps);
    }
    if (t < last) MultiplyOne(rows_.At(t, piece.step), panels, piece.steps, ahead, first, sums);
  }

  // While a piece is multiplied: as much from `step` on of the panels from `panel` on.
  Ahead AheadOf(const Chunk& piece, int64_t panel, int64_t step) const {
    const int64_t turns = (piece.tiles + kPair - 1) / kPair * piece.steps;
    const int64_t lines = of_.StepBytes() * piece.steps / kTileRowBytes;
    return {.panels = {of_.Source(panel, step), of_.Source(panel + 1, step)}, .lines = (lines + turns - 1) / turns};
  }

  const RowTiles& rows_;
  const int64_t panels_;
  Panels of_;
  const Chunk chunk_;
};

// A strip of `tiles` tiles of rows from `tile` on with all panels, on libtorch's threads; each takes a copy of `of`.
// Every weight is read once from memory: where the strip is more than the cache holds, its inputs come in chunks, and
// sums wait in memory for the next one.
template <typename Panels>
void MultiplyStrip(const RowTiles& rows, int64_t tile, int64_t tiles, int64_t panels, const Panels& of) {
  using Sum = typename Panels::Sum;
  const int64_t pairs = (panels + kPair - 1) / kPair, count = tiles * kPair * kSums;
  const int64_t piece = Piece(rows.steps(), std::max(kChunkBytes / (tiles * kTileBytes), kCacheSteps), 1);
  Uninitialized<Sum> waiting(piece < rows.steps() ? pairs * count : 0);
  for (int64_t step = 0; step < rows.steps(); step += piece) {
    const Chunk chunk = {tile, tiles, step, std::min(piece, rows.steps() - step)};
    const bool last = step + piece >= rows.steps();
    ShareOut(pairs, 1, [&](int64_t begin, int64_t end) {
      const ConfiguredTiles configured(std::min(rows.rows(), kTileRows));
      PanelPair<Panels> pair(rows, panels, of, chunk);
      Uninitialized<Sum> own(waiting.empty() ? count : 0);
      for (int64_t i = begin; i < end; ++i) {
        Sum* sums = waiting.empty() ? own.data() : waiting.data() + i * count;
        pair.Multiply(i * kPair, sums);
        if (last) pair.Finish(i * kPair, sums);
      }
    });
  }
}

// All rows with all panels; `of` as PanelPair wants it.
template <typename Panels>
void MultiplyStrips(const RowTiles& rows, int64_t panels, const Panels& of) {
  const int64_t strip = Piece(rows.tiles(), kStripTiles, kPair);
  for (int64_t tile = 0; tile < rows.tiles(); tile += strip) {
    MultiplyStrip(rows, tile, std::min(strip, rows.tiles() - tile), panels, of);
  }
}

}  // namespace diptych::blip2::DIPTYCH_AMX_NAMESPACE
