#include "blip2/kernels/outliers.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/outliers.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag32 = hn::CappedTag<int32_t, kPanel>;
using Vec32 = hn::Vec<Tag32>;

constexpr int64_t kQuadBytes = kPanel * kQuad;
constexpr int kByte = 8, kHalfByte = 4;

// The numbers w of one input, for as many outputs of a panel from `output` on as a vector holds.
HWY_INLINE Vec32 Numbers(const IntegerWeights& weights, int64_t panel, int64_t input, int64_t output) {
  const int8_t* values = weights.values + panel * PanelBytes(weights.type, weights.in) + output * kQuad;
  const int64_t quad = input / kQuad;
  const auto above = static_cast<int>(kQuad - 1 - input % kQuad) * kByte;  // bits of the quad's later inputs
  const auto load = [](const int8_t* from) { return hn::LoadU(Tag32(), reinterpret_cast<const int32_t*>(from)); };
  if (weights.type == IntegerType::kInt8) {
    return hn::ShiftRight<4 * kByte - kByte>(hn::ShiftLeftSame(load(values + quad * kQuadBytes), above));
  }
  const int half = quad % 2 == 0 ? kHalfByte : 0;
  const Vec32 steps =
      hn::ShiftRight<4 * kByte - kHalfByte>(hn::ShiftLeftSame(load(values + quad / 2 * kQuadBytes), above + half));
  const int8_t* multipliers =
      weights.multipliers + panel * PanelMultipliers(weights.in) + input / kGroup * kPanel + output;
  return hn::Mul(steps, hn::PromoteTo(Tag32(), hn::LoadU(hn::Rebind<int8_t, Tag32>(), multipliers)));
}

void Add(const IntegerWeights& weights, const IntegerRows& x, int64_t row, int64_t rows, int64_t panel, int32_t* sums) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag32()));
  for (int64_t r = 0; r < rows; ++r) {
    const std::span<const Outlier> outliers = x.Outliers(row + r);
    if (outliers.empty()) continue;
    for (int64_t output = 0; output < kPanel; output += lanes) {
      int32_t* to = sums + r * kPanel + output;
      Vec32 sum = hn::LoadU(Tag32(), to);
      for (const Outlier& outlier : outliers) {
        const Vec32 numbers = Numbers(weights, panel, outlier.input, output);
        sum = hn::Add(sum, hn::Mul(numbers, hn::Set(Tag32(), outlier.rest)));
      }
      hn::StoreU(sum, Tag32(), to);
    }
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Add);

void AddOutliers(const IntegerWeights& weights, const IntegerRows& x, int64_t row, int64_t rows, int64_t panel,
                 int32_t* sums) {
  HWY_DYNAMIC_DISPATCH(Add)(weights, x, row, rows, panel, sums);
}

}  // namespace diptych::blip2
#endif
