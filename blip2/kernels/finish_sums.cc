#include "blip2/kernels/finish_sums.h"

#include <algorithm>
#include <span>

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/finish_sums.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include "blip2/kernels/epilogue-inl.h"

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

// The products of one row's outliers' rests.
void AddOutliers(const IntegerWeights& weights, std::span<const Outlier> outliers, int64_t panel, int32_t* sums) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag32()));
  for (int64_t output = 0; output < kPanel; output += lanes) {
    Vec32 sum = hn::LoadU(Tag32(), sums + output);
    for (const Outlier& outlier : outliers) {
      const Vec32 numbers = Numbers(weights, panel, outlier.input, output);
      sum = hn::Add(sum, hn::Mul(numbers, hn::Set(Tag32(), outlier.rest)));
    }
    hn::StoreU(sum, Tag32(), sums + output);
  }
}

// The first `count` numbers, then zeros. MaskedLoad reads the others, too, and at aligned addresses alone, where a
// processor has no masks.
template <typename D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, size_t count, const float* from) {
  if (count == hn::Lanes(d)) return hn::LoadU(d, from);
  alignas(64) float numbers[hn::MaxLanes(d)] = {};
  for (size_t i = 0; i < count; ++i) numbers[i] = from[i];
  return hn::Load(d, numbers);
}

// The final values of as many outputs of a panel as a vector holds.
struct Outputs {
  const IntegerWeights& weights;
  const Epilogue<float>& epilogue;
  int64_t first;
  size_t count;
};

// The same for all rows: `scales` [rows], sums [rows, kPanel]; y and the residual from the first row on.
void Store(const Outputs& outputs, const float* scales, int64_t rows, const int32_t* sums, const float* residual,
           float* y) {
  const hn::RebindToFloat<Tag32> d;
  const IntegerWeights& weights = outputs.weights;
  const auto stored = hn::FirstN(d, outputs.count);
  const auto of_outputs = hn::LoadU(d, weights.scales + outputs.first);
  const bool has_bias = weights.bias != nullptr;
  const auto bias = has_bias ? LoadFirst(d, outputs.count, weights.bias + outputs.first) : hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r) {
    auto value = hn::ConvertTo(d, hn::LoadU(Tag32(), sums + r * kPanel));
    value = hn::Mul(value, hn::Mul(of_outputs, hn::Set(d, scales[r])));
    if (has_bias) value = hn::Add(value, bias);
    value = epilogue::Activated(d, outputs.epilogue.activation, value);
    const int64_t at = r * weights.out + outputs.first;
    if (residual != nullptr) value = hn::Add(value, LoadFirst(d, outputs.count, residual + at));
    hn::BlendedStore(value, stored, d, y + at);
  }
}

void AddRestsOnTarget(const IntegerWeights& weights, std::span<const std::span<const Outlier>> rows, int64_t panel,
                      int32_t* sums) {
  for (const std::span<const Outlier> outliers : rows) {
    if (!outliers.empty()) AddOutliers(weights, outliers, panel, sums);
    sums += kPanel;
  }
}

void FinishOnTarget(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, int64_t row,
                    int64_t rows, int64_t panel, const int32_t* sums, float* y) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag32()));
  const float* residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + row * weights.out;
  const int64_t end = std::min((panel + 1) * kPanel, weights.out);
  for (int64_t output = 0; panel * kPanel + output < end; output += lanes) {
    const int64_t first = panel * kPanel + output;
    Store({.weights = weights,
           .epilogue = epilogue,
           .first = first,
           .count = static_cast<size_t>(std::min(lanes, end - first))},
          &x.scales[row], rows, sums + output, residual, y + row * weights.out);
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(AddRestsOnTarget);
HWY_EXPORT(FinishOnTarget);

void AddRests(const IntegerWeights& weights, std::span<const std::span<const Outlier>> rows, int64_t panel,
              int32_t* sums) {
  HWY_DYNAMIC_DISPATCH(AddRestsOnTarget)(weights, rows, panel, sums);
}

void FinishSums(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, int64_t row,
                int64_t rows, int64_t panel, const int32_t* sums, float* y) {
  HWY_DYNAMIC_DISPATCH(FinishOnTarget)(weights, x, epilogue, row, rows, panel, sums, y);
}

}  // namespace diptych::blip2
#endif
