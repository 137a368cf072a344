#include "blip2/kernels/rounded_kv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "blip2/kernels/share_out.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/rounded_kv.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include "blip2/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;

constexpr float kMost = 127;
constexpr int64_t kGrain = 1 << 14;  // numbers for which another thread is worth waking

// Not a number, if one of them is none.
template <typename T>
HWY_INLINE float Largest(const T* from, int64_t width) {
  const Tag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d), sums = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto values = Widen(d, from + i);
    largest = hn::Max(largest, hn::Abs(values));
    sums = hn::MulAdd(values, hn::Zero(d), sums);  // 0, or NaN for what is not finite
  }
  float most = hn::GetLane(hn::MaxOfLanes(d, largest)), sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < width; ++i) {
    const auto value = static_cast<float>(from[i]);
    most = std::max(most, std::abs(value));
    sum += value * 0.0F;
  }
  return sum == 0 ? most : std::numeric_limits<float>::quiet_NaN();
}

template <typename T>
void RoundOne(const T* from, int64_t width, int8_t* to) {
  const float scale = Largest(from, width) / kMost;
  std::memcpy(to + width, &scale, sizeof(scale));
  if (!(scale > 0)) {
    std::fill_n(to, width, int8_t{0});
    return;
  }
  const float inverse = std::min(1 / scale, std::numeric_limits<float>::max());
  const Tag d;
  const hn::Rebind<int8_t, Tag> d8;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto nearest = hn::NearestInt(hn::Mul(Widen(d, from + i), hn::Set(d, inverse)));
    hn::StoreU(hn::DemoteTo(d8, nearest), d8, to + i);
  }
  for (; i < width; ++i) to[i] = static_cast<int8_t>(std::nearbyint(static_cast<float>(from[i]) * inverse));
}

template <typename T>
void RoundVectors(const void* from, int64_t vectors, int64_t width, int8_t* to) {
  ShareOut(vectors, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      RoundOne(static_cast<const T*>(from) + i * width, width, to + i * (width + kKvScaleBytes));
    }
  });
}

void RoundOnTarget(WeightType type, const void* from, int64_t vectors, int64_t width, int8_t* to) {
  switch (type) {
    case WeightType::kFloat32:
      return RoundVectors<float>(from, vectors, width, to);
    case WeightType::kBFloat16:
      return RoundVectors<c10::BFloat16>(from, vectors, width, to);
    case WeightType::kFloat16:
      return RoundVectors<c10::Half>(from, vectors, width, to);
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {
namespace {

template <typename T>
void WidenVectors(const int8_t* from, int64_t vectors, int64_t width, void* to) {
  ShareOut(vectors, std::max<int64_t>(1, (1 << 14) / width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int8_t* bytes = from + i * (width + kKvScaleBytes);
      const float scale = KvScale(bytes, width);
      T* numbers = static_cast<T*>(to) + i * width;
      for (int64_t k = 0; k < width; ++k) numbers[k] = static_cast<T>(scale * static_cast<float>(bytes[k]));
    }
  });
}

}  // namespace

HWY_EXPORT(RoundOnTarget);

void RoundKv(WeightType type, const void* from, int64_t vectors, int64_t width, int8_t* to) {
  HWY_DYNAMIC_DISPATCH(RoundOnTarget)(type, from, vectors, width, to);
}

void WidenKv(const int8_t* from, int64_t vectors, int64_t width, WeightType type, void* to) {
  switch (type) {
    case WeightType::kFloat32:
      return WidenVectors<float>(from, vectors, width, to);
    case WeightType::kBFloat16:
      return WidenVectors<c10::BFloat16>(from, vectors, width, to);
    case WeightType::kFloat16:
      return WidenVectors<c10::Half>(from, vectors, width, to);
  }
}

}  // namespace diptych::blip2
#endif
