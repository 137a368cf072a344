#include "blip2/kernels/byte_linear.h"

#include <algorithm>
#include <span>
#include <vector>

#include "blip2/kernels/finish_sums.h"
#include "blip2/kernels/read_ahead.h"
#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. Only those
// with VNNI are ever asked.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/byte_linear.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include "blip2/kernels/row_groups-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking
constexpr int64_t kFewRows = 16;         // up to here int4 is multiplied as it is held

using TagSums = hn::CappedTag<int32_t, kPanel>;
using VecSums = hn::Vec<TagSums>;

// Panels and rows whose sums stay in registers; of int4 fewer rows, whose sums of a group need registers, too.
constexpr int kBytePanels = 2;
constexpr int kByteRows = 12;
constexpr int kRowsOfTwo = 4;
// Rows that make one tile with a single panel, whose weights are then read once, as they come from memory. By itself
// GCC unrolls 16 turns, and sums that a loop indexes lie in memory: loops over a tile's rows say HWY_UNROLL.
constexpr int kTallRows = kBytePanels * kByteRows;

// Adds 128 to each byte of whole numbers, which makes the weights unsigned, as the instruction needs on one side.
HWY_INLINE VecSums Unsigned(VecSums bytes) {
  return hn::Xor(bytes, hn::Set(TagSums(), static_cast<int32_t>(0x80808080U)));
}

// sum + the products of four neighbours for each lane.
HWY_INLINE VecSums AddByteProducts(VecSums unsigned_bytes, VecSums signed_bytes, VecSums sum) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(unsigned_bytes.raw), "v"(signed_bytes.raw));
  return sum;
}

HWY_INLINE VecSums LoadQuad(const int8_t* from) {
  return hn::LoadU(TagSums(), reinterpret_cast<const int32_t*>(from));
}

// Four inputs of a row, again and again.
HWY_INLINE VecSums Repeat(const int8_t* quad) {
  int32_t four = 0;
  hwy::CopyBytes<sizeof(four)>(quad, &four);
  return hn::Set(TagSums(), four);
}

// The rows without the outliers' rests, and what 128 more in each weight adds. The rows of a group lie quad by quad
// side by side, so that a tile reads one stream.
class ByteRows {
 public:
  ByteRows(const IntegerRows& x, const RowGroups& groups)
      : padded_(x.padded),
        groups_(groups),
        values_(x.rows * x.padded),
        shifts_(values_.size() / kGroup),
        totals_(x.rows) {
    const int64_t grain = std::max<int64_t>(1, kLeastWork / std::max<int64_t>(padded_ * kByteRows, 1));
    ShareOut(groups.count(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        for (int64_t row = groups.Row(group); row < groups.Row(group + 1); ++row) {
          ReadRow(row, group, &x.values[row * padded_]);
        }
      }
    });
  }
  const RowGroups& groups() const { return groups_; }
  int64_t padded() const { return padded_; }
  // [quad][row of the group][input of the quad]
  const int8_t* Group(int64_t group) const { return values_.data() + groups_.Row(group) * padded_; }
  VecSums MinusShift(int64_t row, int64_t group) const {
    return hn::Set(TagSums(), -shifts_[row * (padded_ / kGroup) + group]);
  }
  VecSums MinusTotal(int64_t row) const { return hn::Set(TagSums(), -totals_[row]); }

 private:
  void ReadRow(int64_t row, int64_t group, const int16_t* from) {
    const int64_t stride = groups_.Height(group) * kQuad;
    int8_t* to = values_.data() + groups_.Row(group) * padded_ + (row - groups_.Row(group)) * kQuad;
    const hn::CappedTag<int16_t, 32> d;
    const hn::Rebind<int8_t, decltype(d)> d8;
    const hn::Repartition<int32_t, decltype(d)> d32;
    const auto most = hn::Set(d, static_cast<int16_t>(MaxActivation(ActivationBits::k7)));
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t of_weights = 0; of_weights < padded_ / kGroup; ++of_weights) {
      auto sums = hn::Zero(d32), unused = hn::Zero(d32);
      for (int64_t k = 0; k < kGroup; k += lanes, from += lanes) {
        const auto values = hn::Clamp(hn::LoadU(d, from), hn::Neg(most), most);
        alignas(32) int8_t bytes[32];
        hn::StoreU(hn::DemoteTo(d8, values), d8, bytes);
        for (int64_t i = 0; i < lanes; i += kQuad, to += stride) hwy::CopyBytes<kQuad>(bytes + i, to);
        sums = hn::ReorderWidenMulAccumulate(d32, values, hn::Set(d, int16_t{128}), sums, unused);
      }
      const int32_t shift = hn::GetLane(hn::SumOfLanes(d32, sums));
      shifts_[row * (padded_ / kGroup) + of_weights] = shift;
      totals_[row] += shift;
    }
  }

  const int64_t padded_;
  const RowGroups groups_;
  Uninitialized<int8_t> values_;   // [rows, padded], interleaved
  Uninitialized<int32_t> shifts_;  // [rows, padded / kGroup]
  std::vector<int32_t> totals_;    // [rows]
};

// The sums of the kHeight rows of a group with kCount panels of int8.
template <int kHeight, int kCount>
HWY_INLINE void Int8Sums(const int8_t* const* panels, const int8_t* const* fetched, const ByteRows& x, int64_t group,
                         const ReadAhead& ahead, VecSums (&sums)[kHeight][kCount]) {
  const int64_t row = x.groups().Row(group);
  const int8_t* quads = x.Group(group);
  const int8_t* fetch[kCount];
  for (int p = 0; p < kCount; ++p) fetch[p] = fetched[p] + ahead.offset;
  HWY_UNROLL(32)
  for (int r = 0; r < kHeight; ++r) {
    for (VecSums& sum : sums[r]) sum = x.MinusTotal(row + r);
  }
  for (int64_t k = 0; k < x.padded(); k += kQuad, quads += kHeight * kQuad) {
    VecSums weights[kCount];
    for (int p = 0; p < kCount; ++p) {
      hwy::Prefetch(fetch[p]);
      fetch[p] += ahead.step;
      weights[p] = Unsigned(LoadQuad(panels[p] + k * kPanel));
    }
    HWY_UNROLL(32)
    for (int r = 0; r < kHeight; ++r) {
      const VecSums values = Repeat(quads + r * kQuad);
      for (int p = 0; p < kCount; ++p) sums[r][p] = AddByteProducts(weights[p], values, sums[r][p]);
    }
  }
}

// The same for int4. A number of 4 bits in the upper half of a byte is sixteen times as large.
template <int kHeight, int kCount>
HWY_INLINE void Int4Sums(const int8_t* const* panels, const int8_t* const* multipliers, const ByteRows& x,
                         int64_t of_rows, VecSums (&sums)[kHeight][kCount]) {
  const int64_t row = x.groups().Row(of_rows);
  const int8_t* quads = x.Group(of_rows);
  const VecSums upper = hn::Set(TagSums(), static_cast<int32_t>(0xF0F0F0F0U));
  for (auto& of_row : sums) {
    for (VecSums& sum : of_row) sum = hn::Zero(TagSums());
  }
  for (int64_t group = 0; group < x.padded() / kGroup; ++group) {
    VecSums of_group[kHeight][kCount];
    for (int r = 0; r < kHeight; ++r) {
      for (VecSums& sum : of_group[r]) sum = x.MinusShift(row + r, group);
    }
    for (int64_t k = group * kGroup; k < (group + 1) * kGroup; k += 2 * kQuad, quads += 2 * kHeight * kQuad) {
      VecSums first[kCount], second[kCount];
      for (int p = 0; p < kCount; ++p) {
        hwy::Prefetch(panels[p] + k / 2 * kPanel + ReadAhead().offset);
        const VecSums both = LoadQuad(panels[p] + k / 2 * kPanel);
        first[p] = Unsigned(hn::And(hn::ShiftLeft<4>(both), upper));
        second[p] = Unsigned(hn::And(both, upper));
      }
      for (int r = 0; r < kHeight; ++r) {
        const VecSums values = Repeat(quads + r * kQuad), next = Repeat(quads + (kHeight + r) * kQuad);
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
  BytePanels(const IntegerWeights& weights, const IntegerRows& x, const ByteRows& bytes,
             const Epilogue<float>& epilogue, float* y)
      : weights_(weights), x_(x), bytes_(bytes), epilogue_(epilogue), y_(y) {
    if (Unpacks()) unpacked_.resize(static_cast<size_t>(kBytePanels * x.padded * kPanel));
  }

  // Panels [panel, panel + kBytePanels), as many as there are.
  void Run(int64_t panel) {
    const int64_t last = Panels(weights_.out) - 1;
    for (int p = 0; p < kBytePanels; ++p) Find(p, std::min(panel + p, last));
    for (int64_t group = 0; group < groups().count(); ++group) {
      WithHeight<kTallRows>(groups().Height(group), [&](auto height) { Tile<height()>(panel, group); });
    }
  }

 private:
  ReadAhead Ahead(int64_t group) const {
    const int64_t distance = kBytePanels * PanelBytes(weights_.type, weights_.in), lines = x_.padded / kQuad;
    if (!Unpacks()) return AheadOf(group, groups().count(), distance, lines);
    // The panels at hand have been read: every group fetches a part of the next ones.
    const int64_t step = ReadAhead().step / 2 / groups().count();
    return {.offset = distance + group * step * lines, .step = step};
  }

  const RowGroups& groups() const { return bytes_.groups(); }

  bool Unpacks() const { return weights_.type == IntegerType::kInt4 && x_.rows > kFewRows; }

  void Find(int p, int64_t panel) {
    held_[p] = values_[p] = weights_.values + panel * PanelBytes(weights_.type, weights_.in);
    multipliers_[p] = weights_.multipliers + panel * PanelMultipliers(weights_.in);
    if (!Unpacks()) return;
    int8_t* to = unpacked_.data() + p * x_.padded * kPanel;
    UnpackInt4(weights_, panel, 0, x_.padded / kQuad, to);
    values_[p] = to;
  }

  template <int kHeight>
  HWY_INLINE void Tile(int64_t panel, int64_t group) {
    if (weights_.type == IntegerType::kInt8 || Unpacks()) {
      ForSums<kHeight, kHeight <= kByteRows ? kBytePanels : 1>(panel, group, [&](int p, auto& sums) {
        Int8Sums(values_ + p, held_ + p, bytes_, group, Ahead(group), sums);
      });
    } else if constexpr (kHeight <= kByteRows) {
      ForSums<kHeight, kHeight <= kRowsOfTwo ? kBytePanels : 1>(
          panel, group, [&](int p, auto& sums) { Int4Sums(values_ + p, multipliers_ + p, bytes_, group, sums); });
    }
  }

  // Calls fill(p, sums) for every kCount panels from panel + p on, and stores the sums.
  template <int kHeight, int kCount, typename Fill>
  HWY_INLINE void ForSums(int64_t panel, int64_t group, const Fill& fill) {
    for (int p = 0; p < kBytePanels; p += kCount) {
      VecSums sums[kHeight][kCount];
      fill(p, sums);
      Store(sums, panel + p, groups().Row(group));
    }
  }

  template <int kHeight, int kCount>
  HWY_INLINE void Store(const VecSums (&tile)[kHeight][kCount], int64_t panel, int64_t row) {
    alignas(64) int32_t sums[kHeight * kPanel];
    std::span<const Outlier> outliers[kHeight];
    for (int r = 0; r < kHeight; ++r) outliers[r] = x_.Outliers(row + r);
    for (int p = 0; p < kCount && panel + p < Panels(weights_.out); ++p) {
      HWY_UNROLL(32)
      for (int r = 0; r < kHeight; ++r) hn::Store(tile[r][p], TagSums(), sums + r * kPanel);
      AddRests(weights_, outliers, panel + p, sums);
      FinishSums(weights_, x_, epilogue_, row, kHeight, panel + p, sums, y_);
    }
  }

  const IntegerWeights& weights_;
  const IntegerRows& x_;
  const ByteRows& bytes_;
  const Epilogue<float> epilogue_;
  float* const y_;
  const int8_t* held_[kBytePanels] = {};    // as the matrix has them
  const int8_t* values_[kBytePanels] = {};  // perhaps unpacked
  const int8_t* multipliers_[kBytePanels] = {};
  Uninitialized<int8_t> unpacked_;  // [kBytePanels, padded, kPanel]
};

// Rows of 7 bits.
void Multiply(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y) {
  const bool tall = x.rows <= kTallRows && (weights.type == IntegerType::kInt8 || x.rows > kFewRows);
  const ByteRows bytes(x, RowGroups(x.rows, tall ? kTallRows : kByteRows));
  const int64_t grain =
      std::max<int64_t>(1, kLeastWork / std::max<int64_t>(x.padded * x.rows * kPanel * kBytePanels, 1));
  ShareOut((Panels(weights.out) + kBytePanels - 1) / kBytePanels, grain, [&](int64_t begin, int64_t end) {
    BytePanels panels(weights, x, bytes, epilogue, y);
    for (int64_t pair = begin; pair < end; ++pair) panels.Run(pair * kBytePanels);
  });
}

#else

void Multiply(const IntegerWeights&, const IntegerRows&, const Epilogue<float>&, float*) {}

#endif

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Multiply);

void MultiplyBytes(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y) {
  HWY_DYNAMIC_DISPATCH(Multiply)(weights, x, epilogue, y);
}

}  // namespace diptych::blip2
#endif
