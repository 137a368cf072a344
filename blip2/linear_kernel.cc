#include "blip2/linear_kernel.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs. The
// kernel keeps arrays of vectors, which types of unknown size cannot form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/linear_kernel.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking

template <typename D>
HWY_INLINE hn::Vec<D> Widen(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <typename D>
HWY_INLINE hn::Vec<D> Widen(D d, const c10::BFloat16* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), reinterpret_cast<const hwy::bfloat16_t*>(from)));
}
template <typename D>
HWY_INLINE hn::Vec<D> Widen(D d, const c10::Half* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(from)));
}

// kOut outputs of kIn rows: y[r][o] = Σ x[r][k]·weight[o][k].
template <int kOut, int kIn, typename T>
HWY_INLINE void Tile(const T* HWY_RESTRICT weight, const T* bias, int64_t in, int64_t out, const float* HWY_RESTRICT x,
                     float* HWY_RESTRICT y) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sums[kOut][kIn];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  int64_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    hn::Vec<decltype(d)> weights[kOut];
    for (int o = 0; o < kOut; ++o) weights[o] = Widen(d, weight + o * in + k);
    for (int r = 0; r < kIn; ++r) {
      const auto values = hn::LoadU(d, x + r * in + k);
      for (int o = 0; o < kOut; ++o) sums[o][r] = hn::MulAdd(values, weights[o], sums[o][r]);
    }
  }
  for (int o = 0; o < kOut; ++o) {
    for (int r = 0; r < kIn; ++r) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[o][r]));
      for (int64_t rest = k; rest < in; ++rest) sum += x[r * in + rest] * static_cast<float>(weight[o * in + rest]);
      y[r * out + o] = bias == nullptr ? sum : sum + static_cast<float>(bias[o]);
    }
  }
}

// kOut outputs of all rows, kIn at a time.
template <int kOut, int kIn, typename T>
HWY_INLINE void AllRows(const T* weight, const T* bias, int64_t in, int64_t out, const float* x, int64_t rows,
                        float* y) {
  int64_t r = 0;
  for (; r + kIn <= rows; r += kIn) Tile<kOut, kIn>(weight, bias, in, out, x + r * in, y + r * out);
  switch (rows - r) {
    case 3:
      return Tile<kOut, 3>(weight, bias, in, out, x + r * in, y + r * out);
    case 2:
      return Tile<kOut, 2>(weight, bias, in, out, x + r * in, y + r * out);
    case 1:
      return Tile<kOut, 1>(weight, bias, in, out, x + r * in, y + r * out);
    default:
      return;
  }
}

// A tile of kOut outputs and kIn rows keeps its sums in registers: each value of x that is loaded is used kOut
// times, each weight kIn times.
template <int kOut, int kIn, typename T>
void MultiplyInTiles(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  const auto* weight = static_cast<const T*>(weights.weight);
  const auto* bias = static_cast<const T*>(weights.bias);
  const int64_t in = weights.in;
  const int64_t out = weights.out;
  const int64_t grain = std::max<int64_t>(kOut, kLeastWork / std::max<int64_t>(in * rows, 1));
  at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) {
    int64_t o = begin;
    const auto bias_at = [&](int64_t at) { return bias == nullptr ? nullptr : bias + at; };
    for (; o + kOut <= end; o += kOut) {
      AllRows<kOut, kIn>(weight + o * in, bias_at(o), in, out, x, rows, y + o);
    }
    for (; o < end; ++o) AllRows<1, kIn>(weight + o * in, bias_at(o), in, out, x, rows, y + o);
  });
}

// One or two rows wait for memory, which comes faster from four places at once; more rows wait for the processor.
template <typename T>
void Multiply(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  if (rows <= 2) return MultiplyInTiles<4, 2, T>(weights, x, rows, y);
  MultiplyInTiles<3, 4, T>(weights, x, rows, y);
}

void MultiplyAnyType(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  switch (weights.type) {
    case WeightType::kBFloat16:
      return Multiply<c10::BFloat16>(weights, x, rows, y);
    case WeightType::kFloat16:
      return Multiply<c10::Half>(weights, x, rows, y);
    case WeightType::kFloat32:
      return Multiply<float>(weights, x, rows, y);
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(MultiplyAnyType);

void MultiplyRows(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyAnyType)(weights, x, rows, y);
}

}  // namespace diptych::blip2
#endif
