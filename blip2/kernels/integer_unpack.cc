#include "blip2/kernels/integer_weights.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_unpack.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag16 = hn::CappedTag<int16_t, 32>;
using Tag8 = hn::Rebind<int8_t, Tag16>;

constexpr int64_t kQuadBytes = kPanel * kQuad;

// Each output's multiplier beside each of its four inputs.
void Repeat(const int8_t* multipliers, int16_t* repeated) {
  for (int64_t o = 0; o < kPanel; ++o) {
    for (int64_t k = 0; k < kQuad; ++k) repeated[o * kQuad + k] = multipliers[o];
  }
}

void Unpack(const int8_t* from, const int8_t* multipliers, int64_t quads, int8_t* to) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag16()));
  alignas(64) int16_t repeated[kQuadBytes];
  for (int64_t quad = 0; quad < quads; quad += 2, from += kQuadBytes, to += 2 * kQuadBytes) {
    if (quad % (kGroup / kQuad) == 0) Repeat(multipliers + quad / (kGroup / kQuad) * kPanel, repeated);
    for (int64_t i = 0; i < kQuadBytes; i += lanes) {
      const auto both = hn::PromoteTo(Tag16(), hn::LoadU(Tag8(), from + i));
      const auto multiplier = hn::LoadU(Tag16(), repeated + i);
      const auto low = hn::ShiftRight<12>(hn::ShiftLeft<12>(both));
      hn::StoreU(hn::DemoteTo(Tag8(), hn::Mul(low, multiplier)), Tag8(), to + i);
      hn::StoreU(hn::DemoteTo(Tag8(), hn::Mul(hn::ShiftRight<4>(both), multiplier)), Tag8(), to + kQuadBytes + i);
    }
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Unpack);

void UnpackInt4(const IntegerWeights& weights, int64_t panel, int64_t first, int64_t count, int8_t* values) {
  constexpr int64_t kQuadBytes = kPanel * kQuad;
  const int8_t* from = weights.values + panel * PanelBytes(weights.type, weights.in) + first * kQuadBytes / 2;
  const int8_t* multipliers =
      weights.multipliers + panel * PanelMultipliers(weights.in) + first * kQuad / kGroup * kPanel;
  HWY_DYNAMIC_DISPATCH(Unpack)(from, multipliers, count, values);
}

}  // namespace diptych::blip2
#endif
