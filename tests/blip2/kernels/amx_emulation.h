// AMX's tile instructions as plain C++, so that kernels written for them run on processors without. Include it after
// <immintrin.h> and before the kernel's source. Mirrors Intel's manual, volume 2: LDTILECFG, TILEZERO, TILELOADD,
// TILESTORED, TDPBSSD and TDPBF16PS.
#pragma once

#include <immintrin.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace diptych::blip2::emulated {

struct Tile {
  int8_t bytes[16][64];
};

// What LDTILECFG reads.
struct Configuration {
  uint8_t palette = 0;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

struct Tiles {
  Configuration configuration;
  std::array<Tile, 8> tiles;
};

inline Tiles& OfThisThread() {
  thread_local Tiles tiles{};
  return tiles;
}

inline void LoadConfiguration(const void* from) {
  std::memcpy(&OfThisThread().configuration, from, sizeof(Configuration));
  OfThisThread().tiles = {};
}
inline void StoreConfiguration(void* to) {
  std::memcpy(to, &OfThisThread().configuration, sizeof(Configuration));
}

inline void Zero(int tile) {
  OfThisThread().tiles[tile] = {};
}
inline void Load(int tile, const void* from, int64_t stride) {
  const Configuration& shape = OfThisThread().configuration;
  Zero(tile);
  for (int64_t row = 0; row < shape.rows[tile]; ++row) {
    std::memcpy(OfThisThread().tiles[tile].bytes[row], static_cast<const char*>(from) + row * stride,
                shape.row_bytes[tile]);
  }
}
inline void Store(int tile, void* to, int64_t stride) {
  const Configuration& shape = OfThisThread().configuration;
  for (int64_t row = 0; row < shape.rows[tile]; ++row) {
    std::memcpy(static_cast<char*>(to) + row * stride, OfThisThread().tiles[tile].bytes[row], shape.row_bytes[tile]);
  }
}

// sums[m][n] += the four products of a[m][4k ...] and b[k][4n ...], for every k.
inline void AddProducts(int sums, int a, int b) {
  auto& tiles = OfThisThread().tiles;
  const Configuration& shape = OfThisThread().configuration;
  for (int m = 0; m < shape.rows[sums]; ++m) {
    for (int n = 0; n < shape.row_bytes[sums] / 4; ++n) {
      int32_t sum = 0;
      std::memcpy(&sum, &tiles[sums].bytes[m][4 * n], sizeof(sum));
      for (int k = 0; k < shape.row_bytes[a] / 4; ++k) {
        for (int i = 0; i < 4; ++i) sum += tiles[a].bytes[m][4 * k + i] * tiles[b].bytes[k][4 * n + i];
      }
      std::memcpy(&tiles[sums].bytes[m][4 * n], &sum, sizeof(sum));
    }
  }
}

// sums[m][n] += the products of a[m][2k ...] and b[k][2n ...], first of all the even ones, then of the odd ones.
inline void AddPairProducts(int sums, int a, int b) {
  auto& tiles = OfThisThread().tiles;
  const Configuration& shape = OfThisThread().configuration;
  const auto number = [](const int8_t* bytes) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes, sizeof(bits));
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  };
  for (int m = 0; m < shape.rows[sums]; ++m) {
    for (int n = 0; n < shape.row_bytes[sums] / 4; ++n) {
      float even = 0, odd = 0, sum = 0;
      for (int k = 0; k < shape.row_bytes[a] / 4; ++k) {
        even += number(&tiles[a].bytes[m][4 * k]) * number(&tiles[b].bytes[k][4 * n]);
        odd += number(&tiles[a].bytes[m][4 * k + 2]) * number(&tiles[b].bytes[k][4 * n + 2]);
      }
      std::memcpy(&sum, &tiles[sums].bytes[m][4 * n], sizeof(sum));
      sum += even + odd;
      std::memcpy(&tiles[sums].bytes[m][4 * n], &sum, sizeof(sum));
    }
  }
}

}  // namespace diptych::blip2::emulated

#undef _tile_loadconfig
#undef _tile_storeconfig
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_loadconfig diptych::blip2::emulated::LoadConfiguration
#define _tile_storeconfig diptych::blip2::emulated::StoreConfiguration
#define _tile_zero diptych::blip2::emulated::Zero
#define _tile_loadd diptych::blip2::emulated::Load
#define _tile_stored diptych::blip2::emulated::Store
#define _tile_dpbssd diptych::blip2::emulated::AddProducts
#define _tile_dpbf16ps diptych::blip2::emulated::AddPairProducts
#define DIPTYCH_AMX_NAMESPACE emulated_amx
