#include "blip2/kernels/integer_linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "blip2/kernels/amx_linear.h"
#include "blip2/kernels/block_sums.h"
#include "blip2/kernels/outliers.h"
#include "blip2/kernels/processor.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. The
// kernel keeps arrays of vectors, which types of unknown size cannot form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
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
constexpr int64_t kCacheBlock = 512;     // inputs of many rows that stay in the caches beside a panel
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

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

using TagSums = hn::CappedTag<int32_t, kPanel>;
using VecSums = hn::Vec<TagSums>;

constexpr int kBytePanels = 2;  // whose sums stay in registers for
constexpr int kByteRows = 8;    // so many rows
constexpr int kRowsOfTwo = 4;   // of int4, whose sums of a group need registers, too

// Adds 128 to each byte of whole numbers, which makes the weights unsigned, as the instruction wants one of its sides.
HWY_INLINE VecSums Unsigned(VecSums bytes) {
  return hn::Xor(bytes, hn::Set(TagSums(), static_cast<int32_t>(0x80808080U)));
}

// sum + the products of four neighbours for each lane.
HWY_INLINE VecSums AddByteProducts(VecSums unsigned_bytes, VecSums signed_bytes, VecSums sum) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(unsigned_bytes.raw), "v"(signed_bytes.raw));
  return sum;
}

HWY_INLINE VecSums LoadQuad(const int8_t* from) {
  hwy::Prefetch(from + kAhead);
  return hn::LoadU(TagSums(), reinterpret_cast<const int32_t*>(from));
}

// The rows without the outliers' rests, and what 128 more in each weight adds.
class ByteRows {
 public:
  explicit ByteRows(const IntegerRows& x)
      : padded_(x.padded), values_(x.rows * x.padded), shifts_(values_.size() / kGroup), totals_(x.rows) {
    const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(padded_, 1));
    at::parallel_for(0, x.rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) ReadRow(row, &x.values[row * padded_]);
    });
  }
  int64_t padded() const { return padded_; }
  // Four inputs of a row, again and again.
  HWY_INLINE VecSums Repeat(int64_t row, int64_t input) const {
    int32_t four = 0;
    hwy::CopyBytes<sizeof(four)>(values_.data() + row * padded_ + input, &four);
    return hn::Set(TagSums(), four);
  }
  VecSums MinusShift(int64_t row, int64_t group) const {
    return hn::Set(TagSums(), -shifts_[row * (padded_ / kGroup) + group]);
  }
  VecSums MinusTotal(int64_t row) const { return hn::Set(TagSums(), -totals_[row]); }

 private:
  void ReadRow(int64_t row, const int16_t* from) {
    const Tag16 d;
    const hn::Rebind<int8_t, Tag16> d8;
    const Vec16 most = hn::Set(d, static_cast<int16_t>(MaxActivation(ActivationBits::k7)));
    for (int64_t group = 0; group < padded_ / kGroup; ++group) {
      Vec32 sums = hn::Zero(Tag32());
      for (int64_t k = group * kGroup; k < (group + 1) * kGroup; k += kLanes) {
        const Vec16 values = hn::Clamp(hn::LoadU(d, from + k), hn::Neg(most), most);
        hn::StoreU(hn::DemoteTo(d8, values), d8, &values_[row * padded_ + k]);
        sums = AddProducts<true>(values, hn::Set(d, int16_t{128}), sums);
      }
      const int32_t shift = hn::GetLane(hn::SumOfLanes(Tag32(), sums));
      shifts_[row * (padded_ / kGroup) + group] = shift;
      totals_[row] += shift;
    }
  }

  const int64_t padded_;
  std::vector<int8_t> values_;   // [rows, padded]
  std::vector<int32_t> shifts_;  // [rows, padded / kGroup]
  std::vector<int32_t> totals_;  // [rows]
};

// The sums of kHeight rows from `row` on with kCount panels of int8.
template <int kHeight, int kCount>
HWY_INLINE void Int8Sums(const int8_t* const* panels, const ByteRows& x, int64_t row,
                         VecSums (&sums)[kHeight][kCount]) {
  for (int r = 0; r < kHeight; ++r) {
    for (VecSums& sum : sums[r]) sum = x.MinusTotal(row + r);
  }
  for (int64_t k = 0; k < x.padded(); k += kQuad) {
    VecSums weights[kCount];
    for (int p = 0; p < kCount; ++p) weights[p] = Unsigned(LoadQuad(panels[p] + k * kPanel));
    for (int r = 0; r < kHeight; ++r) {
      const VecSums values = x.Repeat(row + r, k);
      for (int p = 0; p < kCount; ++p) sums[r][p] = AddByteProducts(weights[p], values, sums[r][p]);
    }
  }
}

// The same for int4. A number of 4 bits in the upper half of a byte is sixteen times as large.
template <int kHeight, int kCount>
HWY_INLINE void Int4Sums(const int8_t* const* panels, const int8_t* const* multipliers, const ByteRows& x, int64_t row,
                         VecSums (&sums)[kHeight][kCount]) {
  const VecSums upper = hn::Set(TagSums(), static_cast<int32_t>(0xF0F0F0F0U));
  for (auto& of_row : sums) {
    for (VecSums& sum : of_row) sum = hn::Zero(TagSums());
  }
  for (int64_t group = 0; group < x.padded() / kGroup; ++group) {
    VecSums of_group[kHeight][kCount];
    for (int r = 0; r < kHeight; ++r) {
      for (VecSums& sum : of_group[r]) sum = x.MinusShift(row + r, group);
    }
    for (int64_t k = group * kGroup; k < (group + 1) * kGroup; k += 2 * kQuad) {
      VecSums first[kCount], second[kCount];
      for (int p = 0; p < kCount; ++p) {
        const VecSums both = LoadQuad(panels[p] + k / 2 * kPanel);
        first[p] = Unsigned(hn::And(hn::ShiftLeft<4>(both), upper));
        second[p] = Unsigned(hn::And(both, upper));
      }
      for (int r = 0; r < kHeight; ++r) {
        const VecSums values = x.Repeat(row + r, k), next = x.Repeat(row + r, k + kQuad);
        for (int p = 0; p < kCount; ++p) {
          of_group[r][p] = AddByteProducts(first[p], values, of_group[r][p]);
          of_group[r][p] = AddByteProducts(second[p], next, of_group[r][p]);
        }
      }
    }
    for (int p = 0; p < kCount; ++p) {
      const auto bytes = hn::LoadU(hn::Rebind<int8_t, TagSums>(), multipliers[p] + group * kPanel);
      const VecSums multiplier = hn::PromoteTo(TagSums(), bytes);
      for (int r = 0; r < kHeight; ++r) {
        sums[r][p] = hn::Add(sums[r][p], hn::Mul(hn::ShiftRight<4>(of_group[r][p]), multiplier));
      }
    }
  }
}

// Some panels from `panel` on with all rows; int4's as they are held or unpacked.
class BytePanels {
 public:
  BytePanels(const IntegerWeights& weights, const IntegerRows& x, const ByteRows& bytes, float* y)
      : weights_(weights), x_(x), bytes_(bytes), y_(y) {
    if (Unpacks()) unpacked_.resize(static_cast<size_t>(kBytePanels * x.padded * kPanel));
  }

  // Panels [panel, panel + kBytePanels), as many as there are.
  void Run(int64_t panel) {
    const int64_t last = Panels(weights_.out) - 1;
    for (int p = 0; p < kBytePanels; ++p) Find(p, std::min(panel + p, last));
    Rows<kByteRows>(panel, 0);
  }

 private:
  bool Unpacks() const { return weights_.type == IntegerType::kInt4 && x_.rows > kFewRows; }

  void Find(int p, int64_t panel) {
    values_[p] = weights_.values + panel * PanelBytes(weights_.type, weights_.in);
    multipliers_[p] = weights_.multipliers + panel * PanelMultipliers(weights_.in);
    if (!Unpacks()) return;
    int8_t* to = unpacked_.data() + p * x_.padded * kPanel;
    UnpackInt4(weights_, panel, 0, x_.padded / kQuad, to);
    values_[p] = to;
  }

  // All rows from `row` on.
  template <int kHeight>
  HWY_INLINE void Rows(int64_t panel, int64_t row) {
    if constexpr (kHeight > 0) {
      for (; row + kHeight <= x_.rows; row += kHeight) Tile<kHeight>(panel, row);
      if (row < x_.rows) Rows<kHeight - 1>(panel, row);
    }
  }

  template <int kHeight>
  HWY_INLINE void Tile(int64_t panel, int64_t row) {
    if (weights_.type == IntegerType::kInt8 || Unpacks()) {
      VecSums sums[kHeight][kBytePanels];
      Int8Sums(values_, bytes_, row, sums);
      Store(sums, panel, row);
      return;
    }
    constexpr int kCount = kHeight <= kRowsOfTwo ? kBytePanels : 1;
    for (int p = 0; p < kBytePanels; p += kCount) {
      VecSums sums[kHeight][kCount];
      Int4Sums(values_ + p, multipliers_ + p, bytes_, row, sums);
      Store(sums, panel + p, row);
    }
  }

  // As AddBlock and ScaleAndShift of block_sums.h.
  template <int kHeight, int kCount>
  HWY_INLINE void Store(const VecSums (&tile)[kHeight][kCount], int64_t panel, int64_t row) {
    const hn::RebindToFloat<TagSums> d;
    alignas(64) int32_t sums[kHeight * kPanel];
    alignas(64) float bias[kPanel] = {};
    for (int p = 0; p < kCount && panel + p < Panels(weights_.out); ++p) {
      for (int r = 0; r < kHeight; ++r) hn::Store(tile[r][p], TagSums(), sums + r * kPanel);
      AddOutliers(weights_, x_, row, kHeight, panel + p, sums);
      const int64_t output = (panel + p) * kPanel;
      const int64_t outputs = std::min(kPanel, weights_.out - output);
      if (weights_.bias != nullptr) std::copy_n(weights_.bias + output, outputs, bias);
      const auto scales = hn::LoadU(d, weights_.scales + output);
      for (int r = 0; r < kHeight; ++r) {
        auto value = hn::ConvertTo(d, hn::Load(TagSums(), sums + r * kPanel));
        value = hn::Mul(value, hn::Mul(scales, hn::Set(d, x_.scales[row + r])));
        if (weights_.bias != nullptr) value = hn::Add(value, hn::Load(d, bias));
        float* to = y_ + (row + r) * weights_.out + output;
        hn::BlendedStore(value, hn::FirstN(d, static_cast<size_t>(outputs)), d, to);
      }
    }
  }

  const IntegerWeights& weights_;
  const IntegerRows& x_;
  const ByteRows& bytes_;
  float* const y_;
  const int8_t* values_[kBytePanels] = {};
  const int8_t* multipliers_[kBytePanels] = {};
  std::vector<int8_t> unpacked_;  // [kBytePanels, padded, kPanel]
};

// Rows of 7 bits.
void MultiplyBytes(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const ByteRows bytes(x);
  const int64_t grain =
      std::max<int64_t>(1, kLeastWork / std::max<int64_t>(x.padded * x.rows * kPanel * kBytePanels, 1));
  at::parallel_for(0, (Panels(weights.out) + kBytePanels - 1) / kBytePanels, grain, [&](int64_t begin, int64_t end) {
    BytePanels panels(weights, x, bytes, y);
    for (int64_t pair = begin; pair < end; ++pair) panels.Run(pair * kBytePanels);
  });
}

#endif

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
    AddBlock(sums.data(), 0, x.rows, panel, weights.out, begin == 0, y);
  }
  ScaleAndShift(weights, x, panel, y);
}

template <bool kVnni>
void Multiply(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(x.padded * x.rows * kPanel, 1));
  at::parallel_for(0, Panels(weights.out), grain, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(x.rows * kPanel));
    const bool unpacks = weights.type == IntegerType::kInt4 && x.rows > kFewRows;
    std::vector<int8_t> unpacked(unpacks ? std::min(BlockInputs(x.bits), x.padded) * kPanel : 0);
    for (int64_t panel = begin; panel < end; ++panel) OnePanel<kVnni>(weights, x, panel, sums, unpacked, y);
  });
}

void MultiplyOnTarget(const IntegerWeights& weights, const IntegerRows& x, bool vnni, float* y) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  if (vnni && x.bits == ActivationBits::k7) return MultiplyBytes(weights, x, y);
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

constexpr int64_t kRowsForTiles = 6;  // fewer would leave most of a tile empty

}  // namespace

HWY_EXPORT(MultiplyOnTarget);

void MultiplyIntegers(const IntegerWeights& weights, const IntegerRows& x, float* y) {
  const InstructionSet set = InstructionSetInUse();
  if (set == InstructionSet::kAmx && x.rows >= kRowsForTiles) return MultiplyTiles(weights, x, y);
  HWY_DYNAMIC_DISPATCH(MultiplyOnTarget)(weights, x, set >= InstructionSet::kAvx512Vnni, y);
}

}  // namespace diptych::blip2
#endif
