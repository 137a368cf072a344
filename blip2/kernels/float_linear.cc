#include "blip2/kernels/float_linear.h"

#include <algorithm>

#include "blip2/kernels/share_out.h"
#include "blip2/kernels/uninitialized.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/float_linear.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// After highway.h, which it needs.
#include "blip2/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLeastWork = 1 << 18;  // multiplications for which another thread is worth waking

// The rows stand in groups of kGroup, the last one smaller; in a group the vectors of its rows take turns. So a tile
// reads one stream, where rows some multiple of 4 KiB apart would push each other out of the L1 cache.
// Every weight is widened once for a group, which costs two instructions next to one multiplication for each row: a
// group is as large as the registers allow with three outputs.
#if HWY_TARGET <= HWY_AVX3  // and its kin, with 32 registers
constexpr int kGroup = 8;
#else
constexpr int kGroup = 4;
#endif

using TagSums = hn::ScalableTag<float>;
using Sums = hn::Vec<TagSums>;

// Multiplication of numbers: weights of T, widened, with float32.
template <typename T>
struct Widened {
  using Weight = T;
  using Number = float;
  using Vector = Sums;

  static int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(TagSums())); }
  template <typename From>  // T, or float
  static HWY_INLINE Vector Load(const From* from) {
    return Widen(TagSums(), from);
  }
  static HWY_INLINE Sums MulAdd(Vector numbers, Vector weights, Sums sum) { return hn::MulAdd(numbers, weights, sum); }
};

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64

// Both of bfloat16, two products for each of 16 sums.
struct Pairs {
  using Weight = c10::BFloat16;
  using Number = c10::BFloat16;
  using Tag = hn::CappedTag<uint16_t, 32>;
  using Vector = hn::Vec<Tag>;

  static int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(Tag())); }
  static HWY_INLINE Vector Load(const c10::BFloat16* from) {
    return hn::LoadU(Tag(), reinterpret_cast<const uint16_t*>(from));
  }
  static HWY_INLINE Sums MulAdd(Vector numbers, Vector weights, Sums sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(weights.raw), "v"(numbers.raw));
    return sum;
  }
};

#endif

// x [rows, in] -> packed; `vectors` whole vectors of each row. The rest of a row is read from x itself.
template <typename Number>
void Pack(const Number* x, int64_t rows, int64_t in, int64_t vectors, int64_t lanes, Number* packed) {
  for (int64_t group = 0; group < rows; group += kGroup) {
    const int64_t height = std::min<int64_t>(kGroup, rows - group);
    for (int64_t v = 0; v < vectors; ++v) {
      for (int64_t r = 0; r < height; ++r, packed += lanes)
        std::copy_n(x + (group + r) * in + v * lanes, lanes, packed);
    }
  }
}

// One product of the matrix with all rows.
template <typename Form>
struct Product {
  const typename Form::Weight* weight;  // [out, in]
  const typename Form::Weight* bias;    // [out] or null
  int64_t in;
  int64_t out;
  const typename Form::Number* x;       // [rows, in]
  const typename Form::Number* packed;  // Pack's
  int64_t rows;
  float* y;  // [rows, out]
};

// kOut outputs from `o` on of kHeight rows from `row` on, in registers: each value of x that is loaded is used kOut
// times, each weight kHeight times. The first group fetches the next tile's weights.
template <int kOut, int kHeight, typename Form>
HWY_INLINE void Tile(const Product<Form>& p, int64_t o, int64_t row) {
  const TagSums d;
  const int64_t lanes = Form::Lanes();
  const int64_t vectors = p.in / lanes;
  const auto* HWY_RESTRICT weight = p.weight + o * p.in;
  const auto* HWY_RESTRICT packed = p.packed + row * vectors * lanes;
  const bool fetch = row == 0;
  const int64_t vectors_of_a_line = std::max<int64_t>(64 / (lanes * sizeof(*weight)), 1);
  Sums sums[kOut][kHeight];
  for (auto& of_output : sums) {
    for (auto& sum : of_output) sum = hn::Zero(d);
  }
  for (int64_t v = 0; v < vectors; ++v, packed += kHeight * lanes) {
    typename Form::Vector weights[kOut];
    for (int i = 0; i < kOut; ++i) weights[i] = Form::Load(weight + i * p.in + v * lanes);
    if (fetch && v % vectors_of_a_line == 0) {
      for (int i = 0; i < kOut; ++i) hwy::Prefetch(weight + (kOut + i) * p.in + v * lanes);
    }
    for (int r = 0; r < kHeight; ++r) {
      const auto numbers = Form::Load(packed + r * lanes);
      for (int i = 0; i < kOut; ++i) sums[i][r] = Form::MulAdd(numbers, weights[i], sums[i][r]);
    }
  }
  for (int i = 0; i < kOut; ++i) {
    for (int r = 0; r < kHeight; ++r) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[i][r]));
      for (int64_t k = vectors * lanes; k < p.in; ++k) {
        sum += static_cast<float>(p.x[(row + r) * p.in + k]) * static_cast<float>(weight[i * p.in + k]);
      }
      if (p.bias != nullptr) sum += static_cast<float>(p.bias[o + i]);
      p.y[(row + r) * p.out + o + i] = sum;
    }
  }
}

// kOut outputs of the rows from `row` on, which are at most kHeight.
template <int kOut, int kHeight, typename Form>
HWY_INLINE void LastRows(const Product<Form>& p, int64_t o, int64_t row) {
  if constexpr (kHeight > 0) {
    if (p.rows - row == kHeight) return Tile<kOut, kHeight>(p, o, row);
    LastRows<kOut, kHeight - 1>(p, o, row);
  }
}

// kOut outputs of all rows.
template <int kOut, typename Form>
HWY_INLINE void Outputs(const Product<Form>& p, int64_t o) {
  int64_t row = 0;
  for (; row + kGroup <= p.rows; row += kGroup) Tile<kOut, kGroup>(p, o, row);
  LastRows<kOut, kGroup - 1>(p, o, row);
}

template <typename Form>
void OutputsBetween(const Product<Form>& p, int64_t begin, int64_t end) {
  int64_t o = begin;
  // One or two rows wait for memory, which comes faster from four places at once; more wait for the processor,
  // and three outputs are what its registers hold with a group.
  if (p.rows <= 2) {
    for (; o + 4 <= end; o += 4) LastRows<4, 2>(p, o, 0);
  } else {
    for (; o + 3 <= end; o += 3) Outputs<3>(p, o);
  }
  for (; o < end; ++o) Outputs<1>(p, o);
}

template <typename Form>
void Multiply(const LinearWeights& weights, const typename Form::Number* x, int64_t rows, float* y) {
  const int64_t in = weights.in;
  const int64_t vectors = in / Form::Lanes();
  Uninitialized<typename Form::Number> packed(static_cast<size_t>(rows * in));
  Pack(x, rows, in, vectors, Form::Lanes(), packed.data());
  const Product<Form> product = {.weight = static_cast<const typename Form::Weight*>(weights.weight),
                                 .bias = static_cast<const typename Form::Weight*>(weights.bias),
                                 .in = in,
                                 .out = weights.out,
                                 .x = x,
                                 .packed = packed.data(),
                                 .rows = rows,
                                 .y = y};
  const int64_t grain = std::max<int64_t>(kGroup, kLeastWork / std::max<int64_t>(in * rows, 1));
  ShareOut(weights.out, grain, [&](int64_t begin, int64_t end) { OutputsBetween(product, begin, end); });
}

void MultiplyAnyType(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  switch (weights.type) {
    case WeightType::kBFloat16:
      return Multiply<Widened<c10::BFloat16>>(weights, x, rows, y);
    case WeightType::kFloat16:
      return Multiply<Widened<c10::Half>>(weights, x, rows, y);
    case WeightType::kFloat32:
      return Multiply<Widened<float>>(weights, x, rows, y);
  }
}

void MultiplyByPairs(const LinearWeights& weights, const c10::BFloat16* x, int64_t rows, float* y) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  Multiply<Pairs>(weights, x, rows, y);
#endif
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(MultiplyAnyType);
HWY_EXPORT(MultiplyByPairs);

void MultiplyRows(const LinearWeights& weights, const float* x, int64_t rows, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyAnyType)(weights, x, rows, y);
}

void MultiplyPairs(const LinearWeights& weights, const c10::BFloat16* x, int64_t rows, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyByPairs)(weights, x, rows, y);
}

}  // namespace diptych::blip2
#endif
