// Products of a few rows with panels of pairs of bfloat16, in registers. Included once for each of Highway's targets,
// after highway.h.
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

#include "blip2/kernels/integer_weights.h"
#include "blip2/kernels/read_ahead.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace pair_tile {

namespace hn = hwy::HWY_NAMESPACE;

using TagFloats = hn::CappedTag<float, kPanel>;
using Floats = hn::Vec<TagFloats>;
using TagPairs = hn::Rebind<uint32_t, TagFloats>;
using VecPairs = hn::Vec<TagPairs>;
using TagRounded = hn::Rebind<uint16_t, TagFloats>;

constexpr int64_t kLanes = hn::MaxLanes(TagFloats());
constexpr int kVectors = kPanel / kLanes;  // of a panel's outputs
// Panels and rows whose sums stay in registers, with what is multiplied.
constexpr int kPanels = kVectors == 1 ? 2 : 1;
constexpr int kMostRows = kVectors == 1 ? 12 : kVectors == 2 ? 5 : 3;
// Rows that make one tile with a single panel, whose weights are then read once, as they come from memory. By itself
// GCC unrolls 16 turns, and sums that a loop indexes lie in memory: loops over a tile's rows say HWY_UNROLL.
constexpr int kTallRows = kPanels * kMostRows;
// Panels of a tile.
constexpr int PanelsOf(int64_t height) {
  return height > kMostRows ? 1 : kPanels;
}
// The greatest height of a tile where there are so many rows.
constexpr int64_t MostOf(int64_t rows) {
  return rows > kTallRows ? kMostRows : kTallRows;
}

// Of one row with one panel.
struct Sums {
  Floats of[kVectors];
};

// A panel's pairs of two inputs, for each of kCount panels.
template <int kCount>
using Lines = const c10::BFloat16* [kCount];

HWY_INLINE VecPairs LoadPairs(const c10::BFloat16* from) {
  return hn::LoadU(TagPairs(), reinterpret_cast<const uint32_t*>(from));
}

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

// A form says how pairs are multiplied. This one: by AVX512_BF16.
struct ByInstruction {
  // A row's pair is kNumbers of these, `height` apart: as tiles read it again and again.
  using Number = uint32_t;
  static constexpr int kNumbers = 1;

  static HWY_INLINE void Interleave(const c10::BFloat16* pair, int64_t, Number* to) { std::memcpy(to, pair, 4); }
  static HWY_INLINE void InterleaveLast(c10::BFloat16 last, int64_t, Number* to) { *to = last.x; }

  template <int kHeight, int kCount>
  static HWY_INLINE void AddProducts(const Lines<kCount>& lines, const Number* x, Sums (&sums)[kHeight][kCount]) {
    VecPairs weights[kCount];
    for (int p = 0; p < kCount; ++p) weights[p] = LoadPairs(lines[p]);
    HWY_UNROLL(32)
    for (int r = 0; r < kHeight; ++r) {
      const VecPairs numbers = hn::Set(TagPairs(), x[r]);
      for (int p = 0; p < kCount; ++p) {
        Floats sum = sums[r][p].of[0];  // an array's element would stay in memory
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(weights[p].raw), "v"(numbers.raw));
        sums[r][p].of[0] = sum;
      }
    }
  }

  static HWY_INLINE hn::Vec<TagRounded> Rounded(Floats numbers) {
    hn::Vec<TagRounded> rounded;
    asm("vcvtneps2bf16 %1, %0" : "=v"(rounded.raw) : "v"(numbers.raw));
    return rounded;
  }
};

#endif

// For every processor: weights are widened to float32, the first of each pair, then the second.
struct ByWidening {
  using Number = float;
  static constexpr int kNumbers = 2;

  static HWY_INLINE void Interleave(const c10::BFloat16* pair, int64_t height, Number* to) {
    to[0] = static_cast<float>(pair[0]);
    to[height] = static_cast<float>(pair[1]);
  }
  static HWY_INLINE void InterleaveLast(c10::BFloat16 last, int64_t height, Number* to) {
    to[0] = static_cast<float>(last);
    to[height] = 0;
  }

  template <int kHeight, int kCount>
  static HWY_INLINE void AddProducts(const Lines<kCount>& lines, const Number* x, Sums (&sums)[kHeight][kCount]) {
    const VecPairs upper = hn::Set(TagPairs(), 0xFFFF0000U);
    AddProductsOf(
        lines, [](VecPairs pairs) { return hn::ShiftLeft<16>(pairs); }, x, sums);
    AddProductsOf(
        lines, [upper](VecPairs pairs) { return hn::And(pairs, upper); }, x + kHeight, sums);
  }

  // To the nearest, of two to the even one.
  static HWY_INLINE hn::Vec<TagRounded> Rounded(Floats numbers) {
    const TagPairs d;
    const VecPairs bits = hn::BitCast(d, numbers);
    const VecPairs even = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
    const VecPairs near = hn::ShiftRight<16>(hn::Add(bits, hn::Add(even, hn::Set(d, 0x7FFF))));
    const auto is_nan = hn::RebindMask(d, hn::IsNaN(numbers));
    const VecPairs rounded = hn::IfThenElse(is_nan, hn::Set(d, 0x7FC0), near);
    return hn::DemoteTo(TagRounded(), hn::BitCast(hn::RebindToSigned<TagPairs>(), rounded));
  }

 private:
  template <int kHeight, int kCount, typename Half>
  static HWY_INLINE void AddProductsOf(const Lines<kCount>& lines, const Half& half, const Number* x,
                                       Sums (&sums)[kHeight][kCount]) {
    Floats widened[kCount][kVectors];
    for (int p = 0; p < kCount; ++p) {
      for (int v = 0; v < kVectors; ++v) {
        widened[p][v] = hn::BitCast(TagFloats(), half(LoadPairs(lines[p] + 2 * v * kLanes)));
      }
    }
    HWY_UNROLL(32)
    for (int r = 0; r < kHeight; ++r) {
      const Floats number = hn::Set(TagFloats(), x[r]);
      for (int p = 0; p < kCount; ++p) {
        for (int v = 0; v < kVectors; ++v) {
          sums[r][p].of[v] = hn::MulAdd(widened[p][v], number, sums[r][p].of[v]);
        }
      }
    }
  }
};

// Rounds `sums` and stores the first `count`.
template <typename Form>
HWY_INLINE void StoreRounded(const Sums& sums, int64_t count, c10::BFloat16* to) {
  for (int v = 0; v < kVectors; ++v, count -= kLanes, to += kLanes) {
    const auto there = static_cast<size_t>(std::clamp<int64_t>(count, 0, kLanes));
    hn::BlendedStore(Form::Rounded(sums.of[v]), hn::FirstN(TagRounded(), there), TagRounded(),
                     reinterpret_cast<uint16_t*>(to));
  }
}

// `height` rows of `in` numbers, `stride` apart -> [pair][of the pair][row], so that a tile reads one stream.
template <typename Form>
HWY_INLINE void InterleaveRows(const c10::BFloat16* from, int64_t stride, int64_t in, int64_t height,
                               typename Form::Number* to) {
  for (int64_t r = 0; r < height; ++r, from += stride) {
    auto* number = to + r;
    for (int64_t k = 0; k + 1 < in; k += 2, number += Form::kNumbers * height) {
      Form::Interleave(from + k, height, number);
    }
    if (in % 2 != 0) Form::InterleaveLast(from[in - 1], height, number);
  }
}

// The sums of kHeight rows, interleaved, with kCount panels over `pairs` pairs, in the order of the inputs.
template <typename Form, int kHeight, int kCount>
HWY_INLINE void TileSums(const Lines<kCount>& panels, int64_t pairs, const typename Form::Number* x,
                         const ReadAhead& ahead, Sums (&sums)[kHeight][kCount]) {
  const char* fetch[kCount];
  for (int p = 0; p < kCount; ++p) fetch[p] = reinterpret_cast<const char*>(panels[p]) + ahead.offset;
  HWY_UNROLL(32)
  for (auto& of_row : sums) {
    for (Sums& of_panel : of_row) {
      for (Floats& sum : of_panel.of) sum = hn::Zero(TagFloats());
    }
  }
  for (int64_t pair = 0; pair < pairs; ++pair, x += Form::kNumbers * kHeight) {
    Lines<kCount> lines;
    for (int p = 0; p < kCount; ++p) {
      hwy::Prefetch(fetch[p]);
      fetch[p] += ahead.step;
      lines[p] = panels[p] + pair * 2 * kPanel;
    }
    Form::AddProducts(lines, x, sums);
  }
}

}  // namespace pair_tile

}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
