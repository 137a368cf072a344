#include "blip2/kernels/integer_activations.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blip2/kernels/integer_weights.h"
#include "blip2/kernels/share_out.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/integer_activations.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kGrain = 1 << 15;  // numbers for which another thread is worth waking
constexpr float kOutlier = 4.0F;     // root mean squares
constexpr float kWiden = 1.5F;
constexpr float kMostOverLimit = 250.0F;  // what an outlier may be of the limit, so that it fits 16 bits
constexpr int kTrims = 4;

template <typename D>
HWY_INLINE hn::Vec<D> Scaled(D d, const float* x, const float* factors, int64_t k) {
  const auto value = hn::LoadU(d, x + k);
  return factors == nullptr ? value : hn::Mul(value, hn::LoadU(d, factors + k));
}
float Scaled(const float* x, const float* factors, int64_t k) {
  return factors == nullptr ? x[k] : x[k] * factors[k];
}

struct RowSums {
  float largest;  // magnitude of x · factors; NaN if a number is not finite
  float squares;
};

RowSums SumsOf(const float* x, const float* factors, int64_t in) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d);
  auto squares = hn::Zero(d);
  auto poison = hn::Zero(d);  // NaN after a number that is not finite
  int64_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    const auto value = Scaled(d, x, factors, k);
    largest = hn::Max(largest, hn::Abs(value));
    squares = hn::MulAdd(value, value, squares);
    poison = hn::MulAdd(value, hn::Zero(d), poison);
  }
  float most = hn::GetLane(hn::MaxOfLanes(d, largest));
  float off = hn::GetLane(hn::SumOfLanes(d, poison));
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; k < in; ++k) {
    const float value = Scaled(x, factors, k);
    most = std::max(most, std::abs(value));
    off += value * 0.0F;
    sum += value * value;
  }
  return {.largest = most + off, .squares = sum};
}

struct Below {
  int64_t above;  // numbers of a larger magnitude than a limit
  float squares;  // the sum of the others' squares
};

Below SumsBelow(const float* x, const float* factors, int64_t in, float limit) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto squares = hn::Zero(d);
  int64_t above = 0;
  int64_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    const auto value = Scaled(d, x, factors, k);
    const auto counted = hn::Le(hn::Abs(value), hn::Set(d, limit));
    above += lanes - static_cast<int64_t>(hn::CountTrue(d, counted));
    const auto kept = hn::IfThenElseZero(counted, value);
    squares = hn::MulAdd(kept, kept, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; k < in; ++k) {
    const float value = Scaled(x, factors, k);
    if (std::abs(value) > limit) {
      ++above;
    } else {
      sum += value * value;
    }
  }
  return {.above = above, .squares = sum};
}

// The magnitude above which a number is an outlier, so that there are few; `largest` if there is none. Outliers count
// in the first root mean square, so it is taken again without them.
float OutlierLimit(const float* x, const float* factors, int64_t in, const RowSums& row) {
  float limit = row.largest, squares = row.squares;
  for (int i = 0; i < kTrims; ++i) {
    const float root_mean_square = std::sqrt(squares / static_cast<float>(in));
    float next = std::max(kOutlier * root_mean_square, row.largest / kMostOverLimit);
    for (; next > 0 && next < limit; next *= kWiden) {
      const Below below = SumsBelow(x, factors, in, next);
      squares = below.squares;
      if (below.above <= kMaxOutliers) break;
    }
    if (!(next > 0 && next < limit)) break;
    limit = next;
  }
  return limit;
}

// `padded`: a multiple of kGroup; what pads the row is 0.
int64_t CollectOutliers(const int16_t* values, int64_t padded, int64_t most, Outlier* outliers) {
  const hn::CappedTag<int16_t, kGroup> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t count = 0;
  for (int64_t begin = 0; begin < padded; begin += lanes) {
    const auto above = hn::Gt(hn::Abs(hn::LoadU(d, values + begin)), hn::Set(d, static_cast<int16_t>(most)));
    if (hn::AllFalse(d, above)) continue;
    for (int64_t k = begin; k < begin + lanes; ++k) {
      const int64_t rest = values[k] - std::clamp<int64_t>(values[k], -most, most);
      if (rest != 0) outliers[count++] = {.input = static_cast<int32_t>(k), .rest = static_cast<int32_t>(rest)};
    }
  }
  return count;
}

// Rounds so that `limit` becomes `most`. -> the scale
float RoundRow(const float* x, const float* factors, int64_t in, float limit, int64_t most, int16_t* values) {
  const float scale = limit / static_cast<float>(most);
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
    const float value = Scaled(x, factors, k);
    values[k] = static_cast<int16_t>(std::nearbyint(value * inverse));
  }
  return scale;
}

void RoundAll(const float* x, const float* factors, int64_t in, IntegerRows& rounded) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(in, 1), 1);
  ShareOut(rounded.rows, grain, [&](int64_t begin, int64_t end) {
    const int64_t most = MaxActivation(rounded.bits);
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * in;
      int16_t* values = rounded.values.data() + row * rounded.padded;
      const RowSums sums = SumsOf(from, factors, in);
      const float limit = rounded.bits == ActivationBits::k7 ? OutlierLimit(from, factors, in, sums) : sums.largest;
      rounded.scales[row] = RoundRow(from, factors, in, limit, most, values);
      std::fill(values + in, values + rounded.padded, int16_t{0});
      if (!(limit < sums.largest)) continue;
      rounded.outlier_counts[row] =
          CollectOutliers(values, rounded.padded, most, &rounded.outliers[row * kMaxOutliers]);
    }
  });
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(RoundAll);

std::vector<std::span<const Outlier>> IntegerRows::Outliers(int64_t begin, int64_t end, int64_t first,
                                                            int64_t last) const {
  std::vector<std::span<const Outlier>> found;
  for (int64_t row = begin; row < end; ++row) {
    const std::span<const Outlier> all = Outliers(row);
    const auto from = std::ranges::lower_bound(all, first, {}, &Outlier::input);
    found.emplace_back(from, std::ranges::lower_bound(from, all.end(), last, {}, &Outlier::input));
  }
  return found;
}

IntegerRows RoundRows(const float* x, const float* factors, int64_t rows, int64_t in, ActivationBits bits) {
  IntegerRows rounded{.bits = bits, .rows = rows, .padded = PaddedInputs(in)};
  rounded.values.resize(static_cast<size_t>(rows * rounded.padded));
  rounded.scales.resize(static_cast<size_t>(rows));
  if (bits == ActivationBits::k7) {
    rounded.outliers.resize(static_cast<size_t>(rows * kMaxOutliers));
    rounded.outlier_counts.resize(static_cast<size_t>(rows));
  }
  HWY_DYNAMIC_DISPATCH(RoundAll)(x, factors, in, rounded);
  return rounded;
}

}  // namespace diptych::blip2
#endif
