#include "blip2/kernels/integer_activations.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "blip2/kernels/integer_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_activations.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kGrain = 1 << 15;  // numbers for which another thread is worth waking

template <typename D>
HWY_INLINE hn::Vec<D> Scaled(D d, const float* x, const float* factors, int64_t k) {
  const auto value = hn::LoadU(d, x + k);
  return factors == nullptr ? value : hn::Mul(value, hn::LoadU(d, factors + k));
}

// The largest magnitude of x · factors; NaN if a number is not finite.
float Largest(const float* x, const float* factors, int64_t in) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d);
  auto poison = hn::Zero(d);  // NaN after a number that is not finite
  int64_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    const auto value = Scaled(d, x, factors, k);
    largest = hn::Max(largest, hn::Abs(value));
    poison = hn::MulAdd(value, hn::Zero(d), poison);
  }
  float most = hn::GetLane(hn::MaxOfLanes(d, largest));
  float off = hn::GetLane(hn::SumOfLanes(d, poison));
  for (; k < in; ++k) {
    const float value = x[k] * (factors == nullptr ? 1.0F : factors[k]);
    most = std::max(most, std::abs(value));
    off += value * 0.0F;
  }
  return most + off;
}

// -> the scale
float RoundRow(const float* x, const float* factors, int64_t in, int64_t most, int16_t* values) {
  const float scale = Largest(x, factors, in) / static_cast<float>(most);
  if (!(scale > 0)) {
    std::fill_n(values, in, int16_t{0});
    return scale;
  }
  const float inverse = std::min(1 / scale, std::numeric_limits<float>::max());
  const hn::ScalableTag<float> d;
  const hn::Rebind<int16_t, decltype(d)> d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    const auto nearest = hn::NearestInt(hn::Mul(Scaled(d, x, factors, k), hn::Set(d, inverse)));
    hn::StoreU(hn::DemoteTo(d16, nearest), d16, values + k);
  }
  for (; k < in; ++k) {
    const float value = x[k] * (factors == nullptr ? 1.0F : factors[k]);
    values[k] = static_cast<int16_t>(std::nearbyint(value * inverse));
  }
  return scale;
}

void RoundAll(const float* x, const float* factors, int64_t in, IntegerRows& rounded) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(in, 1), 1);
  at::parallel_for(0, rounded.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int16_t* values = rounded.values.data() + row * rounded.padded;
      rounded.scales[row] = RoundRow(x + row * in, factors, in, MaxActivation(rounded.bits), values);
    }
  });
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(RoundAll);

IntegerRows RoundRows(const float* x, const float* factors, int64_t rows, int64_t in, ActivationBits bits) {
  IntegerRows rounded{.bits = bits, .rows = rows, .padded = PaddedInputs(in), .values = {}, .scales = {}};
  rounded.values.resize(static_cast<size_t>(rows * rounded.padded));
  rounded.scales.resize(static_cast<size_t>(rows));
  HWY_DYNAMIC_DISPATCH(RoundAll)(x, factors, in, rounded);
  return rounded;
}

}  // namespace diptych::blip2
#endif
