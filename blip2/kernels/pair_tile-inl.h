// Products of a few rows with panels of pairs of bfloat16, in registers. Included once for each of Highway's targets,
// after highway.h; there is something in it for those that can have AVX512_BF16.
#if defined(DIPTYCH_BLIP2_KERNELS_PAIR_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DIPTYCH_BLIP2_KERNELS_PAIR_TILE_INL_H_
#undef DIPTYCH_BLIP2_KERNELS_PAIR_TILE_INL_H_
#else
#define DIPTYCH_BLIP2_KERNELS_PAIR_TILE_INL_H_
#endif

#include <c10/util/BFloat16.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "blip2/kernels/integer_weights.h"
#include "blip2/kernels/read_ahead.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

namespace pair_tile {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kPanels = 2;     // whose sums stay in registers for
constexpr int kMostRows = 12;  // so many rows

using TagSums = hn::CappedTag<float, kPanel>;
using Sums = hn::Vec<TagSums>;
using TagPairs = hn::Rebind<uint32_t, TagSums>;
using VecPairs = hn::Vec<TagPairs>;
using TagRounded = hn::CappedTag<uint16_t, kPanel>;

HWY_INLINE Sums AddPairProducts(VecPairs a, VecPairs b, Sums sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
}

HWY_INLINE VecPairs LoadPairs(const c10::BFloat16* from) {
  return hn::LoadU(TagPairs(), reinterpret_cast<const uint32_t*>(from));
}

HWY_INLINE hn::Vec<TagRounded> Rounded(Sums sums) {
  hn::Vec<TagRounded> rounded;
  asm("vcvtneps2bf16 %1, %0" : "=v"(rounded.raw) : "v"(sums.raw));
  return rounded;
}

// Rounds 16 sums and stores the first `count`.
HWY_INLINE void StoreRounded(Sums sums, int64_t count, c10::BFloat16* to) {
  hn::BlendedStore(Rounded(sums), hn::FirstN(TagRounded(), static_cast<size_t>(count)), TagRounded(),
                   reinterpret_cast<uint16_t*>(to));
}

// Rows are cut into groups of much the same height, kMostRows at most.
class Groups {
 public:
  explicit Groups(int64_t rows) : rows_(rows), count_((rows + kMostRows - 1) / kMostRows) {}
  int64_t count() const { return count_; }
  int64_t Row(int64_t group) const { return group * (rows_ / count_) + std::min(group, rows_ % count_); }
  int64_t Height(int64_t group) const { return Row(group + 1) - Row(group); }

 private:
  int64_t rows_;
  int64_t count_;
};

// `height` rows of `in` numbers, `stride` apart -> [pair][row], so that a tile reads one stream.
HWY_INLINE void InterleaveRows(const c10::BFloat16* from, int64_t stride, int64_t in, int64_t height, uint32_t* to) {
  for (int64_t r = 0; r < height; ++r, from += stride) {
    for (int64_t pair = 0; pair < in / 2; ++pair) std::memcpy(to + pair * height + r, from + 2 * pair, 4);
    if (in % 2 != 0) to[in / 2 * height + r] = from[in - 1].x;
  }
}

// The sums of kHeight rows, interleaved, with two panels over `pairs` pairs, in the order of the inputs.
template <int kHeight>
HWY_INLINE void TileSums(const c10::BFloat16* const (&panels)[kPanels], int64_t pairs, const uint32_t* x,
                         const ReadAhead& ahead, Sums (&sums)[kHeight][kPanels]) {
  const char* fetch[kPanels];
  for (int p = 0; p < kPanels; ++p) fetch[p] = reinterpret_cast<const char*>(panels[p]) + ahead.offset;
  for (auto& of_row : sums) {
    for (Sums& sum : of_row) sum = hn::Zero(TagSums());
  }
  for (int64_t pair = 0; pair < pairs; ++pair, x += kHeight) {
    VecPairs weights[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      hwy::Prefetch(fetch[p]);
      fetch[p] += ahead.step;
      weights[p] = LoadPairs(panels[p] + pair * 2 * kPanel);
    }
    for (int r = 0; r < kHeight; ++r) {
      const VecPairs numbers = hn::Set(TagPairs(), x[r]);
      for (int p = 0; p < kPanels; ++p) sums[r][p] = AddPairProducts(weights[p], numbers, sums[r][p]);
    }
  }
}

// Calls use(std::integral_constant) with `height`, which is 1 to kHeight.
template <int kHeight, typename Use>
HWY_INLINE void WithHeight(int64_t height, const Use& use) {
  if constexpr (kHeight > 0) {
    if (height == kHeight) return use(std::integral_constant<int, kHeight>());
    WithHeight<kHeight - 1>(height, use);
  }
}

}  // namespace pair_tile

#endif
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
