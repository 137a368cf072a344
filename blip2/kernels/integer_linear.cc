#include "blip2/kernels/integer_linear.h"

#include <algorithm>
#include <vector>

#include "blip2/kernels/amx_linear.h"
#include "blip2/kernels/byte_linear.h"
#include "blip2/kernels/processor.h"
#include "blip2/kernels/share_out.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_linear.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking
constexpr int64_t kFewRows = 16;         // up to here int4 is unpacked in registers, once for a tile
constexpr int64_t kCacheBlock = 512;     // inputs of many rows that stay in the caches with a panel
constexpr int64_t kAhead = 2048;         // bytes

using Tag16 = hn::CappedTag<int16_t, 32>;
using Tag32 = hn::Repartition<int32_t, Tag16>;
using Vec16 = hn::Vec<Tag16>;
using Vec32 = hn::Vec<Tag32>;

constexpr int64_t kLanes = hn::MaxLanes(Tag16());
constexpr int kParts = static_cast<int>(kPanel * kQuad / kLanes);  // vectors of a quad
// A tile's sums stay in registers: kWide or kTall vectors of a quad for so many rows.
#if HWY_TARGET <= HWY_AVX3  // with 32 registers
constexpr int kTall = std::min(kParts, 2);
constexpr int kRowsOfTall = 8;
constexpr int kRowsOfWide = 8;
#else
constexpr int kTall = std::min(kParts, 2);
constexpr int kRowsOfTall = 4;
constexpr int kRowsOfWide = 2;
#endif

// sum + the products of neighbours, two for each lane.
template <bool kVnni>
HWY_INLINE Vec32 AddProducts(Vec16 a, Vec16 b, Vec32 sum) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if constexpr (kVnni) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
#endif
#if HWY_ARCH_X86
  Vec32 unused = sum;
  return hn::ReorderWidenMulAccumulate(Tag32(), a, b, sum, unused);
#else
  const auto even = [](Vec16 v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(Tag32(), v))); };
  const auto odd = [](Vec16 v) { return hn::ShiftRight<16>(hn::BitCast(Tag32(), v)); };
  return hn::Add(hn::Add(sum, hn::Mul(even(a), even(b))), hn::Mul(odd(a), odd(b)));
#endif
}

HWY_INLINE Vec16 Widen(const int8_t* from) {
  return hn::PromoteTo(Tag16(), hn::LoadU(hn::Rebind<int8_t, Tag16>(), from));
}

// Four inputs of a row, again and again.
HWY_INLINE Vec16 Repeat(const int16_t* quad) {
  uint64_t four;
  hwy::CopyBytes<sizeof(four)>(quad, &four);
  return hn::BitCast(Tag16(), hn::Set(hn::Repartition<uint64_t, Tag16>(), four));
}

// kCount vectors of two neighbouring quads, from vector `first` of each on.
template <int kCount>
struct TwoQuads {
  Vec16 weights[2][kCount];
};

// Reads a panel of int8.
class Int8Reader {
 public:
  static constexpr int64_t kBytesOfTwoQuads = 2 * kPanel * kQuad;
  explicit Int8Reader(const int8_t* values, const int8_t* /*multipliers*/) : values_(values) {}
  template <int kCount>
  HWY_INLINE void Enter(int64_t /*group*/, int /*first*/, Vec16 (&)[kCount]) const {}
  template <int kCount>
  HWY_INLINE void Read(int64_t quad, int first, const Vec16 (&)[kCount], TwoQuads<kCount>& quads) const {
    const int8_t* from = values_ + quad * kPanel * kQuad + first * kLanes;
    hwy::Prefetch(from + kAhead);
    hwy::Prefetch(from + kAhead + kPanel * kQuad);
    for (int i = 0; i < kCount; ++i) {
      quads.weights[0][i] = Widen(from + i * kLanes);
      quads.weights[1][i] = Widen(from + kPanel * kQuad + i * kLanes);
    }
  }

 private:
  const int8_t* const values_;
};

// Reads a panel of int4 and multiplies.
class Int4Reader {
 public:
  explicit Int4Reader(const int8_t* values, const int8_t* multipliers) : values_(values), multipliers_(multipliers) {}
  // The multipliers of a group, each in the four lanes of its output.
  template <int kCount>
  HWY_INLINE void Enter(int64_t group, int first, Vec16 (&multipliers)[kCount]) const {
    for (int i = 0; i < kCount; ++i) {
      alignas(64) int16_t lanes[kLanes];
      const int8_t* from = multipliers_ + group * kPanel + (first + i) * kLanes / kQuad;
      for (int64_t o = 0; o < kLanes / kQuad; ++o) {
        const uint64_t four = static_cast<uint64_t>(from[o]) * 0x0001000100010001U;
        hwy::CopyBytes<sizeof(four)>(&four, lanes + o * kQuad);
      }
      multipliers[i] = hn::Load(Tag16(), lanes);
    }
  }
  template <int kCount>
  HWY_INLINE void Read(int64_t quad, int first, const Vec16 (&multipliers)[kCount], TwoQuads<kCount>& quads) const {
    const int8_t* from = values_ + quad / 2 * kPanel * kQuad + first * kLanes;
    hwy::Prefetch(from + kAhead);
    for (int i = 0; i < kCount; ++i) {
      const Vec16 both = Widen(from + i * kLanes);
      const Vec16 low = hn::ShiftRight<12>(hn::ShiftLeft<12>(both));
      quads.weights[0][i] = hn::Mul(low, multipliers[i]);
      quads.weights[1][i] = hn::Mul(hn::ShiftRight<4>(both), multipliers[i]);
    }
  }

 private:
  const int8_t* const values_;
  const int8_t* const multipliers_;
};

// Inputs [begin, end) of kHeight rows with a panel; adds to sums [kHeight, kPanel].
template <bool kVnni, int kCount, int kHeight, typename Reader>
HWY_INLINE void Tile(const Reader& reader, int first, const int16_t* x, int64_t padded, int64_t begin, int64_t end,
                     int32_t* sums) {
  Vec32 tile[kCount][kHeight];
  for (auto& of_part : tile) {
    for (auto& sum : of_part) sum = hn::Zero(Tag32());
  }
  for (int64_t k = begin; k < end; k += kGroup) {
    Vec16 multipliers[kCount];
    reader.Enter(k / kGroup, first, multipliers);
    for (int64_t in_group = k; in_group < k + kGroup; in_group += 2 * kQuad) {
      TwoQuads<kCount> quads;
      reader.Read(in_group / kQuad, first, multipliers, quads);
      for (int q = 0; q < 2; ++q) {
        for (int r = 0; r < kHeight; ++r) {
          const Vec16 values = Repeat(x + r * padded + in_group + q * kQuad);
          for (int i = 0; i < kCount; ++i) {
            tile[i][r] = AddProducts<kVnni>(quads.weights[q][i], values, tile[i][r]);
          }
        }
      }
    }
  }
  // Of each output two lanes lie side by side.
  for (int i = 0; i < kCount; ++i) {
    for (int r = 0; r < kHeight; ++r) {
      alignas(64) int32_t lanes[kLanes / 2];
      hn::Store(tile[i][r], Tag32(), lanes);
      int32_t* to = sums + r * kPanel + (first + i) * kLanes / kQuad;
      for (int64_t o = 0; o < kLanes / kQuad; ++o) to[o] += lanes[2 * o] + lanes[2 * o + 1];
    }
  }
}

// The same for all rows of x; every vector of a quad in its turn.
template <bool kVnni, int kCount, int kHeight, typename Reader>
HWY_INLINE void Rows(const Reader& reader, const IntegerRows& x, int64_t row, int64_t begin, int64_t end,
                     int32_t* sums) {
  if constexpr (kHeight > 0) {
    for (; row + kHeight <= x.rows; row += kHeight) {
      for (int first = 0; first < kParts; first += kCount) {
        Tile<kVnni, kCount, kHeight>(reader, first, x.values.data() + row * x.padded, x.padded, begin, end,
                                     sums + row * kPanel);
      }
    }
    if (row < x.rows) Rows<kVnni, kCount, kHeight - 1>(reader, x, row, begin, end, sums);
  }
}

template <bool kVnni, typename Reader>
void BlockOfPanel(const Reader& reader, const IntegerRows& x, int64_t begin, int64_t end, int32_t* sums) {
  if (x.rows <= kRowsOfWide) return Rows<kVnni, kParts, kRowsOfWide>(reader, x, 0, begin, end, sums);
  const int64_t step = x.rows <= kFewRows ? end - begin : kCacheBlock;
  for (int64_t k = begin; k < end; k += step) {
    Rows<kVnni, kTall, kRowsOfTall>(reader, x, 0, k, std::min(k + step, end), sums);
  }
}

// Adds one block's sums [rows, kPanel] to the panel's outputs in y [rows, out]. The first block overwrites them.
void AddBlock(const int32_t* sums, int64_t rows, int64_t panel, int64_t out, bool first_block, float* y) {
  const int64_t output = panel * kPanel;
  const int64_t outputs = std::min(kPanel, out - output);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = y + r * out + output;
    for (int64_t o = 0; o < outputs; ++o) {
      const auto sum = static_cast<float>(sums[r * kPanel + o]);
      to[o] = first_block ? sum : to[o] + sum;
    }
  }
}

// From a panel's sums to numbers, by the arithmetic of finish_sums.h.
void ScaleAndShift(const IntegerWeights& weights, const IntegerRows& x, int64_t panel, float* y) {
  const int64_t output = panel * kPanel;
  const int64_t end = std::min(output + kPanel, weights.out);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = output; o < end; ++o) {
      float& value = y[r * weights.out + o];
      value *= weights.scales[o] * x.scales[r];
      if (weights.bias != nullptr) value += weights.bias[o];
    }
  }
}

template <bool kVnni>
void OnePanel(const IntegerWeights& weights, const IntegerRows& x, int64_t panel, std::vector<int32_t>& sums,
              std::vector<int8_t>& unpacked, float* y) {
  const int8_t* values = weights.values + panel * PanelBytes(weights.type, weights.in);
  const int64_t block = BlockInputs(x.bits);
  for (int64_t begin = 0; begin < x.padded; begin += block) {
    const int64_t end = std::min(begin + block, x.padded);
    std::fill(sums.begin(), sums.end(), 0);
    if (weights.type == IntegerType::kInt8) {
      BlockOfPanel<kVnni>(Int8Reader(values, nullptr), x, begin, end, sums.data());
    } else if (x.rows <= kFewRows) {
      const int8_t* multipliers = weights.multipliers + panel * PanelMultipliers(weights.in);
      BlockOfPanel<kVnni>(Int4Reader(values, multipliers), x, begin, end, sums.data());
    } else {
      UnpackInt4(weights, panel, begin / kQuad, (end - begin) / kQuad, unpacked.data());
      BlockOfPanel<kVnni>(Int8Reader(unpacked.data() - begin * kPanel, nullptr), x, begin, end, sums.data());
    }
    AddBlock(sums.data(), x.rows, panel, weights.out, begin == 0, y);
  }
  ScaleAndShift(weights, x, panel, y);
}

template <bool kVnni>
void Multiply(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(x.padded * x.rows * kPanel, 1));
  ShareOut(Panels(weights.out), grain, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(x.rows * kPanel));
    const bool unpacks = weights.type == IntegerType::kInt4 && x.rows > kFewRows;
    std::vector<int8_t> unpacked(unpacks ? std::min(BlockInputs(x.bits), x.padded) * kPanel : 0);
    for (int64_t panel = begin; panel < end; ++panel) OnePanel<kVnni>(weights, x, panel, sums, unpacked, y);
  });
}

void MultiplyOnTarget(const IntegerWeights& weights, const IntegerRows& x, bool vnni, float* y) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if (vnni) return Multiply<true>(weights, x, y);
#endif
  Multiply<false>(weights, x, y);
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {
namespace {

constexpr int64_t kRowsForTiles = 11;  // fewer are multiplied as fast as memory gives weights without

}  // namespace

HWY_EXPORT(MultiplyOnTarget);

void MultiplyIntegers(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y) {
  const InstructionSet set = InstructionSetInUse();
  const bool vnni = set >= InstructionSet::kAvx512Vnni;
  if (vnni && x.bits == ActivationBits::k7) {
    const bool tiles = set == InstructionSet::kAmx && x.rows >= kRowsForTiles;
    return tiles ? MultiplyTiles(weights, x, epilogue, y) : MultiplyBytes(weights, x, epilogue, y);
  }
  // This writes an output several times, so what follows has a turn of its own.
  HWY_DYNAMIC_DISPATCH(MultiplyOnTarget)(weights, x, vnni, y);
  Finish(epilogue, x.rows * weights.out, y);
}

}  // namespace diptych::blip2
#endif
