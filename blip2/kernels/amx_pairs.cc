#include "blip2/kernels/amx_pairs.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "blip2/kernels/amx_tiles-inl.h"

namespace diptych::blip2 {
namespace {

using namespace DIPTYCH_AMX_NAMESPACE;  // NOLINT

constexpr int64_t kTilePairs = kPairTileInputs / 2;
static_assert(kPairTileRows == kTileRows && kPairTileInputs * sizeof(c10::BFloat16) == kTileRowBytes);

class PairPanels {
 public:
  using Sum = float;

  PairPanels(const PairWeights& weights, FinishPairs finish) : weights_(weights), finish_(finish) {}

  static constexpr bool Unpacks() { return false; }
  static constexpr int64_t StepBytes() { return kTileBytes; }
  const std::byte* Source(int64_t panel, int64_t step) const {
    return reinterpret_cast<const std::byte*>(weights_.values + panel * PairPanelSize(weights_.in)) + step * kTileBytes;
  }

  // A panel's last tile is copied where it has fewer pairs: what follows is another panel's, and may be no number.
  const std::byte* Tiles(int64_t panel, int64_t step, int64_t steps, int64_t place, const std::byte*) {
    const std::byte* from = Source(panel, step);
    const int64_t begin = step * kTileBytes, end = Pairs(weights_.in) * kTileRowBytes;
    if (begin + steps * kTileBytes <= end) return from;
    padded_.resize(static_cast<size_t>(kPair * kCacheSteps * kTileBytes));
    std::byte* to = padded_.data() + place * kCacheSteps * kTileBytes;
    std::memcpy(to, from, end - begin);
    std::fill(to + (end - begin), to + steps * kTileBytes, std::byte());
    return to;
  }

  static void Enter(const Chunk&) {}
  static void Complete(int64_t, int64_t, int64_t, float*) {}
  void Finish(int64_t row, int64_t rows, int64_t panel, const float* sums) { finish_(row, rows, panel, sums); }

 private:
  const PairWeights& weights_;
  FinishPairs finish_;
  Uninitialized<std::byte> padded_;  // [2 panels, kCacheSteps, 1 KiB]
};

}  // namespace

void MultiplyPairTiles(const PairWeights& weights, const c10::BFloat16* x, int64_t rows, FinishPairs finish) {
  const int64_t steps = (Pairs(weights.in) + kTilePairs - 1) / kTilePairs;
  const RowTiles tiles(rows, steps, [&](int64_t row, std::byte* to) {
    ArrangePairs(x + row * weights.in, weights.in, reinterpret_cast<c10::BFloat16*>(to));
  });
  MultiplyStrips(tiles, Panels(weights.out), PairPanels(weights, finish));
}

void MultiplyArrangedPairs(const c10::BFloat16* rows, int64_t row_tiles, const c10::BFloat16* panels,
                           int64_t panel_pairs, int64_t steps, float* sums) {
  const ConfiguredTiles configured(kTileRows);
  const auto* row = reinterpret_cast<const std::byte*>(rows);
  const auto* panel = reinterpret_cast<const std::byte*>(panels);
  const int64_t bytes = steps * kTileBytes;
  for (int64_t pair = 0; pair < panel_pairs; ++pair, panel += kPair * bytes, sums += row_tiles * kPair * kSums) {
    if (row_tiles == kPair) {
      MultiplyTwo<float>({row, row + bytes}, {panel, panel + bytes}, steps, Ahead(), /*first=*/true, sums);
    } else {
      MultiplyOne<float>(row, {panel, panel + bytes}, steps, Ahead(), /*first=*/true, sums);
    }
  }
}

}  // namespace diptych::blip2

#else

namespace diptych::blip2 {

void MultiplyPairTiles(const PairWeights&, const c10::BFloat16*, int64_t, FinishPairs) {}
void MultiplyArrangedPairs(const c10::BFloat16*, int64_t, const c10::BFloat16*, int64_t, int64_t, float*) {}

}  // namespace diptych::blip2

#endif
