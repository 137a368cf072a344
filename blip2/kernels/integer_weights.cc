#include "blip2/kernels/integer_weights.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_weights.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// After highway.h, which it needs.
#include "blip2/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, kPanel>;
using Vec = hn::Vec<Tag>;
using Tag8 = hn::Rebind<int8_t, Tag>;

constexpr int kMinInt4 = -8;
constexpr int kMaxInt4 = 7;
constexpr int kMaxMultiplier = 15;  // 8 · 15 <= 127
constexpr int kTriedMultipliers = 4;
constexpr int64_t kStrip = 1024;  // columns whose maxima stay in the L1 cache

int64_t Lanes() {
  return static_cast<int64_t>(hn::Lanes(Tag()));
}

// Calls use(pointer to the first number of the block's type, rows) for each block.
template <typename Use>
void ForEachBlock(const FloatMatrix& matrix, const Use& use) {
  for (const RowBlock& block : matrix.blocks) {
    switch (block.type) {
      case WeightType::kFloat32:
        use(static_cast<const float*>(block.data), block.rows);
        break;
      case WeightType::kBFloat16:
        use(static_cast<const c10::BFloat16*>(block.data), block.rows);
        break;
      case WeightType::kFloat16:
        use(static_cast<const c10::Half*>(block.data), block.rows);
        break;
    }
  }
}

// Of columns [begin, end).
template <typename T>
void StripMaxima(const T* data, int64_t rows, int64_t in, int64_t begin, int64_t end, float* largest) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = data + row * in;
    int64_t k = begin;
    for (; k + Lanes() <= end; k += Lanes()) {
      hn::StoreU(hn::Max(hn::LoadU(Tag(), largest + k), hn::Abs(Widen(Tag(), from + k))), Tag(), largest + k);
    }
    for (; k < end; ++k) largest[k] = std::max(largest[k], std::abs(static_cast<float>(from[k])));
  }
}

void Maxima(const FloatMatrix& weight, float* largest) {
  std::fill_n(largest, weight.in, 0.0F);
  at::parallel_for(0, (weight.in + kGroup - 1) / kGroup, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * kGroup, weight.in);
    for (int64_t strip = begin * kGroup; strip < last; strip += kStrip) {
      ForEachBlock(weight, [&](const auto* data, int64_t rows) {
        StripMaxima(data, rows, weight.in, strip, std::min(strip + kStrip, last), largest);
      });
    }
  });
}

// A row before it is rounded: `values` [padded], each times its smoothing.
struct Row {
  std::vector<float> values;
  float largest = 0;  // magnitude; NaN if a value is not finite
  float norm = 0;     // of the weights times the magnitudes
};

// Reads a row. `columns` have `padded` numbers each.
template <typename T>
void ReadRow(const T* from, int64_t in, int64_t padded, const InputColumns& columns, Row& row) {
  Vec largest = hn::Zero(Tag()), poison = hn::Zero(Tag()), squares = hn::Zero(Tag());
  T rest[kPanel] = {};
  for (int64_t k = 0; k < padded; k += Lanes()) {
    if (k + Lanes() > in) {
      std::fill_n(rest, kPanel, T(0.0F));
      if (k < in) std::copy_n(from + k, in - k, rest);
    }
    const Vec weight = Widen(Tag(), k + Lanes() > in ? rest : from + k);
    const Vec smoothed = hn::Mul(weight, hn::LoadU(Tag(), columns.smoothing + k));
    const Vec scaled = hn::Mul(weight, hn::LoadU(Tag(), columns.magnitudes + k));
    largest = hn::Max(largest, hn::Abs(smoothed));
    poison = hn::MulAdd(smoothed, hn::Zero(Tag()), poison);
    squares = hn::MulAdd(scaled, scaled, squares);
    hn::StoreU(smoothed, Tag(), row.values.data() + k);
  }
  row.largest = hn::GetLane(hn::MaxOfLanes(Tag(), largest)) + hn::GetLane(hn::SumOfLanes(Tag(), poison));
  row.norm = std::sqrt(hn::GetLane(hn::SumOfLanes(Tag(), squares)));
}

float Inverse(float scale) {
  return scale > 0 ? std::min(1 / scale, std::numeric_limits<float>::max()) : 0;
}

HWY_INLINE void StoreInt8(Vec whole, int8_t* to) {
  hn::StoreU(hn::DemoteTo(Tag8(), hn::NearestInt(whole)), Tag8(), to);
}

// -> the scale. Also for rows of zeros alone.
float RoundToInt8(const Row& row, int8_t* values) {
  const float scale = row.largest / static_cast<float>(kMaxInt8);
  const auto padded = static_cast<int64_t>(row.values.size());
  if (!(scale > 0)) {
    std::fill_n(values, padded, int8_t{0});
    return scale;
  }
  const Vec inverse = hn::Set(Tag(), Inverse(scale));
  for (int64_t k = 0; k < padded; k += Lanes()) {
    StoreInt8(hn::Mul(hn::LoadU(Tag(), row.values.data() + k), inverse), values + k);
  }
  return scale;
}

// Whole numbers of 4 bits.
HWY_INLINE Vec RoundToInt4(Vec x, Vec inverse) {
  return hn::Round(hn::Clamp(hn::Mul(x, inverse), hn::Set(Tag(), kMinInt4), hn::Set(Tag(), kMaxInt4)));
}

// The steps between neighbouring numbers of 4 bits that a row's groups may take, one for each multiplier.
struct Steps {
  explicit Steps(float scale) : scale_inverse(Inverse(scale)) {
    for (int m = 1; m <= kMaxMultiplier; ++m) {
      step[m] = scale * static_cast<float>(m);
      inverse[m] = Inverse(step[m]);
    }
  }
  float scale_inverse;
  float step[kMaxMultiplier + 1] = {};
  float inverse[kMaxMultiplier + 1] = {};
};

float SquaredError(const float* group, float step, float inverse) {
  Vec error = hn::Zero(Tag());
  for (int64_t k = 0; k < kGroup; k += Lanes()) {
    const Vec x = hn::LoadU(Tag(), group + k);
    const Vec off = hn::NegMulAdd(RoundToInt4(x, hn::Set(Tag(), inverse)), hn::Set(Tag(), step), x);
    error = hn::MulAdd(off, off, error);
  }
  return hn::GetLane(hn::SumOfLanes(Tag(), error));
}

float LargestOfGroup(const float* group) {
  Vec largest = hn::Zero(Tag());
  for (int64_t k = 0; k < kGroup; k += Lanes()) largest = hn::Max(largest, hn::Abs(hn::LoadU(Tag(), group + k)));
  return hn::GetLane(hn::MaxOfLanes(Tag(), largest));
}

// The multiplier that loses least: the one that reaches the group's largest number, or a smaller one.
int BestMultiplier(const float* group, const Steps& steps) {
  const float wanted = std::ceil(LargestOfGroup(group) / -kMinInt4 * steps.scale_inverse);
  const int reaching = static_cast<int>(std::clamp(wanted, 1.0F, static_cast<float>(kMaxMultiplier)));
  int best = reaching;
  float least = std::numeric_limits<float>::infinity();
  for (int m = std::min(reaching + 1, kMaxMultiplier); m >= std::max(reaching + 2 - kTriedMultipliers, 1); --m) {
    const float error = SquaredError(group, steps.step[m], steps.inverse[m]);
    if (error < least) {
      least = error;
      best = m;
    }
  }
  return best;
}

// -> the scale. Also for rows of zeros alone.
float RoundToInt4(const Row& row, int8_t* values, int8_t* multipliers) {
  const float scale = row.largest / static_cast<float>(kMaxInt4 * kMaxMultiplier);
  const auto padded = static_cast<int64_t>(row.values.size());
  if (!(scale > 0)) {
    std::fill_n(values, padded, int8_t{0});
    std::fill_n(multipliers, padded / kGroup, int8_t{1});
    return scale;
  }
  const Steps steps(scale);
  for (int64_t g = 0; g < padded / kGroup; ++g) {
    const float* group = row.values.data() + g * kGroup;
    const int m = BestMultiplier(group, steps);
    const Vec inverse = hn::Set(Tag(), steps.inverse[m]);
    for (int64_t k = 0; k < kGroup; k += Lanes()) {
      StoreInt8(RoundToInt4(hn::LoadU(Tag(), group + k), inverse), values + g * kGroup + k);
    }
    multipliers[g] = static_cast<int8_t>(m);
  }
  return scale;
}

// Rounds row after row; takes them to their places a panel at a time.
class Packer {
 public:
  // `columns` have `padded` numbers each.
  Packer(IntegerType type, int64_t in, const InputColumns& columns, const PackedWeights& packed)
      : type_(type), in_(in), padded_(PaddedInputs(in)), columns_(columns), packed_(packed) {
    row_.values.resize(static_cast<size_t>(padded_));
    values_.resize(static_cast<size_t>(kPanel * padded_));
    multipliers_.resize(static_cast<size_t>(kPanel * padded_ / kGroup));
  }

  // Panels [begin, end) of the matrix.
  void Run(const FloatMatrix& weight, int64_t begin, int64_t end) {
    int64_t first = 0;  // of the block
    ForEachBlock(weight, [&](const auto* data, int64_t rows) {
      const int64_t last = std::min(end * kPanel, first + rows);
      for (int64_t o = std::max(begin * kPanel, first); o < last; ++o) {
        ReadRow(data + (o - first) * in_, in_, padded_, columns_, row_);
        TakeRow(o);
        if (o % kPanel + 1 == kPanel) Place(o / kPanel);
      }
      first += rows;
    });
    if (first <= end * kPanel && first % kPanel != 0) FillPanel(first);
  }

 private:
  void TakeRow(int64_t output) {
    const int64_t place = output % kPanel;
    int8_t* values = values_.data() + place * padded_;
    packed_.scales[output] = type_ == IntegerType::kInt8
                                 ? RoundToInt8(row_, values)
                                 : RoundToInt4(row_, values, multipliers_.data() + place * (padded_ / kGroup));
    if (packed_.norms != nullptr) packed_.norms[output] = row_.norm;
  }

  // Zeros for the outputs that the last panel has no rows for.
  void FillPanel(int64_t out) {
    const int64_t place = out % kPanel;
    std::fill(values_.begin() + place * padded_, values_.end(), int8_t{0});
    std::fill(multipliers_.begin() + place * (padded_ / kGroup), multipliers_.end(), int8_t{1});
    std::fill_n(packed_.scales + out, kPanel - place, 0.0F);
    Place(out / kPanel);
  }

  void Place(int64_t panel) {
    int8_t* to = packed_.values + panel * PanelBytes(type_, in_);
    if (type_ == IntegerType::kInt8) {
      PlaceInt8(to);
    } else {
      PlaceInt4(to, packed_.multipliers + panel * PanelMultipliers(in_));
    }
  }

  uint32_t Quad(int64_t output, int64_t quad) const {
    uint32_t four = 0;
    std::memcpy(&four, values_.data() + output * padded_ + quad * kQuad, sizeof(four));
    return four;
  }

  void PlaceInt8(int8_t* to) const {
    for (int64_t quad = 0; quad < padded_ / kQuad; ++quad) {
      for (int64_t o = 0; o < kPanel; ++o, to += kQuad) {
        const uint32_t four = Quad(o, quad);
        std::memcpy(to, &four, sizeof(four));
      }
    }
  }

  void PlaceInt4(int8_t* to, int8_t* multipliers) const {
    constexpr uint32_t kLow = 0x0F0F0F0F;
    for (int64_t quad = 0; quad < padded_ / kQuad; quad += 2) {
      for (int64_t o = 0; o < kPanel; ++o, to += kQuad) {
        const uint32_t both = (Quad(o, quad) & kLow) | (Quad(o, quad + 1) & kLow) << 4;
        std::memcpy(to, &both, sizeof(both));
      }
    }
    for (int64_t group = 0; group < padded_ / kGroup; ++group) {
      for (int64_t o = 0; o < kPanel; ++o) *multipliers++ = multipliers_[o * (padded_ / kGroup) + group];
    }
  }

  const IntegerType type_;
  const int64_t in_;
  const int64_t padded_;
  const InputColumns columns_;
  const PackedWeights packed_;
  Row row_;
  std::vector<int8_t> values_;       // [kPanel, padded]
  std::vector<int8_t> multipliers_;  // [kPanel, groups]
};

// Ones where there are none.
std::vector<float> Padded(const float* numbers, int64_t in) {
  std::vector<float> padded(static_cast<size_t>(PaddedInputs(in)), 1.0F);
  if (numbers != nullptr) std::copy_n(numbers, in, padded.begin());
  return padded;
}

void Pack(IntegerType type, const FloatMatrix& weight, const InputColumns& columns, const PackedWeights& packed) {
  const std::vector<float> smoothing = Padded(columns.smoothing, weight.in);
  const std::vector<float> magnitudes = Padded(columns.magnitudes, weight.in);
  at::parallel_for(0, Panels(weight.out()), 1, [&](int64_t begin, int64_t end) {
    Packer(type, weight.in, {.smoothing = smoothing.data(), .magnitudes = magnitudes.data()}, packed)
        .Run(weight, begin, end);
  });
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Maxima);
HWY_EXPORT(Pack);

void ColumnMaxima(const FloatMatrix& weight, float* largest) {
  HWY_DYNAMIC_DISPATCH(Maxima)(weight, largest);
}

void PackWeights(IntegerType type, const FloatMatrix& weight, const InputColumns& columns,
                 const PackedWeights& packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(type, weight, columns, packed);
}

}  // namespace diptych::blip2
#endif
