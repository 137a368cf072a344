#include <algorithm>

#include "blip2/kernels/integer_weights.h"
#include "blip2/kernels/read_ahead.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_unpack.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kQuadBytes = kPanel * kQuad;

// Two neighbouring bytes, which belong to one output, are one number of 16 bits.
using Tag = hn::CappedTag<uint16_t, kQuadBytes / 2>;
using Vec = hn::Vec<Tag>;

// Factors and offsets of a group's numbers, for the pairs of a quad.
struct Steps {
  alignas(64) uint16_t multipliers[kQuadBytes / 2];
  alignas(64) uint16_t shifts[kQuadBytes / 2];
};

HWY_INLINE Vec InBothBytes(uint16_t byte) {
  return hn::Set(Tag(), static_cast<uint16_t>(byte * 0x0101));
}

// All by vectors: numbers that are read as vectors soon after they were written singly are waited for.
void SetSteps(const int8_t* multipliers, Steps& steps) {
  const hn::Repartition<uint32_t, Tag> d;  // a lane for each output
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t o = 0; o < kPanel; o += lanes) {
    const auto multiplier = hn::PromoteTo(d, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(multipliers) + o));
    const auto shift = hn::Sub(hn::Set(d, 128), hn::ShiftLeft<3>(multiplier));
    const auto both_bytes = hn::Or(shift, hn::ShiftLeft<8>(shift));
    hn::Store(hn::Or(multiplier, hn::ShiftLeft<16>(multiplier)), d,
              reinterpret_cast<uint32_t*>(steps.multipliers + 2 * o));
    hn::Store(hn::Or(both_bytes, hn::ShiftLeft<16>(both_bytes)), d, reinterpret_cast<uint32_t*>(steps.shifts + 2 * o));
  }
}

// The lower halves of the bytes times their multipliers. 8 more in each half and 128 more in each product keep all
// bytes positive, so that none carries into its neighbour: (n + 8) · m + 128 - 8 · m, with m at most 15.
HWY_INLINE Vec Products(Vec bytes, const Steps& steps, int64_t i) {
  const Vec positive = hn::And(hn::Xor(bytes, InBothBytes(8)), InBothBytes(15));
  const Vec products = hn::Mul(positive, hn::Load(Tag(), steps.multipliers + i));
  return hn::Xor(hn::Add(products, hn::Load(Tag(), steps.shifts + i)), InBothBytes(128));
}

void Unpack(const int8_t* values, const int8_t* multipliers, int64_t quads, const int8_t* next, int8_t* unpacked) {
  const auto* from = reinterpret_cast<const uint16_t*>(values);
  auto* to = reinterpret_cast<uint16_t*>(unpacked);
  Steps steps;
  for (int64_t quad = 0; quad < quads; quad += 2, from += kQuadBytes / 2, to += kQuadBytes) {
    if (quad % (kGroup / kQuad) == 0) SetSteps(multipliers + quad / (kGroup / kQuad) * kPanel, steps);
    __builtin_prefetch(next + quad / 2 * kQuadBytes, /*rw=*/0, /*locality=*/2);
    for (int64_t i = 0; i < kQuadBytes / 2; i += static_cast<int64_t>(hn::Lanes(Tag()))) {
      const Vec both = hn::LoadU(Tag(), from + i);
      hn::StoreU(Products(both, steps, i), Tag(), to + i);
      hn::StoreU(Products(hn::ShiftRight<4>(both), steps, i), Tag(), to + kQuadBytes / 2 + i);
    }
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(Unpack);

void UnpackInt4(const IntegerWeights& weights, int64_t panel, int64_t first, int64_t count, int8_t* values,
                const int8_t* next) {
  constexpr int64_t kQuadBytes = kPanel * kQuad;
  const int8_t* from = weights.values + panel * PanelBytes(weights.type, weights.in) + first * kQuadBytes / 2;
  const int8_t* multipliers =
      weights.multipliers + panel * PanelMultipliers(weights.in) + first * kQuad / kGroup * kPanel;
  HWY_DYNAMIC_DISPATCH(Unpack)(from, multipliers, count, next == nullptr ? from + ReadAhead().offset : next, values);
}

}  // namespace diptych::blip2
#endif
