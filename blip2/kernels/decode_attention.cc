#include "blip2/kernels/decode_attention.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "blip2/kernels/rounded_kv.h"
#include "blip2/kernels/share_out.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/decode_attention.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which it needs.
#include <hwy/contrib/math/math-inl.h>

#include "blip2/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace diptych::blip2::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

constexpr int64_t kLeastWork = 1 << 15;  // products for which another thread is worth waking

template <typename T>
HWY_INLINE float Dot(const float* a, const T* b, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  Vec sums = hn::Zero(Tag());
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) sums = hn::MulAdd(hn::LoadU(Tag(), a + i), Widen(Tag(), b + i), sums);
  float sum = hn::GetLane(hn::SumOfLanes(Tag(), sums));
  for (; i < count; ++i) sum += a[i] * static_cast<float>(b[i]);
  return sum;
}

// How the pool holds a head's key or value of `width` numbers: one after the other.
template <typename T>
struct Held {
  static int64_t Size(int64_t width) { return width; }
  static float Scale(const T*, int64_t) { return 1; }
};
// As RoundKv writes it.
template <>
struct Held<int8_t> {
  static int64_t Size(int64_t width) { return width + kKvScaleBytes; }
  static float Scale(const int8_t* numbers, int64_t width) {
    float scale = 0;
    std::memcpy(&scale, numbers + width, sizeof(scale));
    return scale;
  }
};

// sum += shares · b, b [tokens, width], in the order of the tokens.
template <typename T>
HWY_INLINE void Add(const float* shares, const T* b, int64_t tokens, int64_t width, float* sum) {
  const int64_t size = Held<T>::Size(width);
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    Vec sums = hn::LoadU(Tag(), sum + i);
    for (int64_t t = 0; t < tokens; ++t) {
      sums = hn::MulAdd(hn::Set(Tag(), shares[t]), Widen(Tag(), b + t * size + i), sums);
    }
    hn::StoreU(sums, Tag(), sum + i);
  }
  for (; i < width; ++i) {
    for (int64_t t = 0; t < tokens; ++t) sum[i] += shares[t] * static_cast<float>(b[t * size + i]);
  }
}

// Brings numbers into the caches that are read soon. What lies beyond the pool is no fault.
template <typename T>
HWY_INLINE void Fetch(const T* numbers, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += kLine) hwy::Prefetch(numbers + i);
}

// Scores become their exponentials over the largest; -> the sum of these.
float Exponentials(std::vector<float>& scores) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const float largest = *std::max_element(scores.begin(), scores.end());
  const size_t count = scores.size();
  scores.resize((count + lanes - 1) / lanes * lanes, -std::numeric_limits<float>::infinity());
  float sum = 0;
  for (size_t i = 0; i < scores.size(); i += lanes) {
    const Vec exponentials = hn::Exp(Tag(), hn::Sub(hn::LoadU(Tag(), scores.data() + i), hn::Set(Tag(), largest)));
    hn::StoreU(exponentials, Tag(), scores.data() + i);
  }
  scores.resize(count);
  for (const float score : scores) sum += score;
  return sum;
}

// What one thread works with.
struct Scratch {
  explicit Scratch(int64_t width) : query(static_cast<size_t>(width)), sum(static_cast<size_t>(width)) {}
  std::vector<float> query;
  std::vector<float> sum;
  std::vector<float> scores;
};

// T: of the pool.
template <typename Q, typename T>
void AttendOne(const DecodeAttention& a, const PlacedSequence& row, int64_t index, int64_t head, Scratch& scratch) {
  const int64_t place = (index * a.heads + head) * a.width;
  const Q* query = static_cast<const Q*>(a.query) + place;
  for (int64_t i = 0; i < a.width; ++i) scratch.query[i] = static_cast<float>(query[i]);
  std::fill(scratch.sum.begin(), scratch.sum.end(), 0.0F);
  scratch.scores.resize(static_cast<size_t>(row.length));
  const int64_t size = Held<T>::Size(a.width), block_size = a.block_tokens * size;  // of one head
  const auto for_blocks = [&](const auto& use) {  // use(first token, tokens, the block's first number)
    for (int64_t first = 0; first < row.length; first += a.block_tokens) {
      use(first, std::min(a.block_tokens, row.length - first),
          (row.blocks[first / a.block_tokens] * a.heads + head) * block_size);
    }
  };
  // While keys are read the values come into the caches, while these are read the next head's keys.
  const T* const keys = static_cast<const T*>(a.keys);
  const T* const values = static_cast<const T*>(a.values);
  for_blocks([&](int64_t first, int64_t tokens, int64_t block) {
    for (int64_t t = 0; t < tokens; ++t) {
      const T* key = keys + block + t * size;
      Fetch(values + block + t * size, size);
      scratch.scores[first + t] = Dot(scratch.query.data(), key, a.width) * Held<T>::Scale(key, a.width);
    }
  });
  const float total = Exponentials(scratch.scores);
  for_blocks([&](int64_t first, int64_t tokens, int64_t block) {
    Fetch(keys + block + block_size, tokens * size);
    for (int64_t t = 0; t < tokens; ++t) {
      scratch.scores[first + t] *= Held<T>::Scale(values + block + t * size, a.width);
    }
    Add(scratch.scores.data() + first, values + block, tokens, a.width, scratch.sum.data());
  });
  Q* out = static_cast<Q*>(a.out) + place;
  for (int64_t i = 0; i < a.width; ++i) out[i] = static_cast<Q>(scratch.sum[i] / total);
}

template <typename Q, typename T>
void AttendAll(const DecodeAttention& a, std::span<const PlacedSequence> rows) {
  int64_t longest = 1;
  for (const PlacedSequence& row : rows) longest = std::max(longest, row.length);
  const int64_t grain = std::max<int64_t>(1, kLeastWork / (longest * a.width));
  ShareOut(static_cast<int64_t>(rows.size()) * a.heads, grain, [&](int64_t begin, int64_t end) {
    Scratch scratch(a.width);
    for (int64_t i = begin; i < end; ++i) {
      AttendOne<Q, T>(a, rows[i / a.heads], i / a.heads, i % a.heads, scratch);
    }
  });
}

void AttendAnyType(const DecodeAttention& a, std::span<const PlacedSequence> rows) {
  if (a.type == WeightType::kFloat32 && a.pool_type == WeightType::kBFloat16) {
    return AttendAll<float, c10::BFloat16>(a, rows);
  }
  const auto attend = [&]<typename Q>(Q) { a.pool_type ? AttendAll<Q, Q>(a, rows) : AttendAll<Q, int8_t>(a, rows); };
  switch (a.type) {
    case WeightType::kBFloat16:
      return attend(c10::BFloat16());
    case WeightType::kFloat16:
      return attend(c10::Half());
    case WeightType::kFloat32:
      return attend(float());
  }
}

}  // namespace
}  // namespace diptych::blip2::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace diptych::blip2 {

HWY_EXPORT(AttendAnyType);

void AttendInPlace(const DecodeAttention& attention, std::span<const PlacedSequence> rows) {
  HWY_DYNAMIC_DISPATCH(AttendAnyType)(attention, rows);
}

}  // namespace diptych::blip2
#endif
