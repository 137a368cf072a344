#include "blip2/kernels/decode_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "blip2/kernels/rounded_kv.h"
#include "blip2/kernels/share_out.h"

// Compiled once for each kind of processor; the best that the machine has is chosen when the program runs.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip2/kernels/decode_attention.cc"
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

constexpr int64_t kPieces = 2;           // of each thread
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

// The pool's layout of a head's key or value of `width` numbers: one after the other.
template <typename T>
struct Held {
  static int64_t Size(int64_t width) { return width; }
  static float Scale(const T*, int64_t) { return 1; }
};
// As RoundKv writes it.
template <>
struct Held<int8_t> {
  static int64_t Size(int64_t width) { return width + kKvScaleBytes; }
  static float Scale(const int8_t* numbers, int64_t width) { return KvScale(numbers, width); }
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

// Brings numbers that are read soon into the L2 cache: the few lines that a core can await for its L1 cache are not
// enough to keep memory busy.
template <typename T>
HWY_INLINE void Fetch(const T* numbers, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(numbers + i, /*rw=*/0, /*locality=*/2);
}

// Scores [count] become their exponentials over the largest; -> the sum of these. Behind them is room for a vector.
float Exponentials(float* scores, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const float largest = *std::max_element(scores, scores + count);
  std::fill_n(scores + count, lanes - 1, -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < count; i += lanes) {
    const Vec exponentials = hn::Exp(Tag(), hn::Sub(hn::LoadU(Tag(), scores + i), hn::Set(Tag(), largest)));
    hn::StoreU(exponentials, Tag(), scores + i);
  }
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += scores[i];
  return sum;
}

// Working memory of one thread: of each head its query and sum [width] and its scores [length].
struct Scratch {
  std::vector<float> query;
  std::vector<float> sums;
  std::vector<float> scores;
};

// Calls use(head, first token, tokens, numbers, next) for all heads [begin, end) of a block, then those of the
// sequence's next block: memory gives neighbours fastest. `next` is where the head's numbers lie in the next block.
template <typename T, typename Use>
HWY_INLINE void ForBlocks(const DecodeAttention& a, const PlacedSequence& row, const void* pool, int64_t begin,
                          int64_t end, const Use& use) {
  const int64_t of_head = a.block_tokens * Held<T>::Size(a.width);
  const auto numbers = [&](int64_t block) {
    return static_cast<const T*>(pool) + (row.blocks[block] * a.heads + begin) * of_head;
  };
  for (int64_t first = 0, block = 0; first < row.length; first += a.block_tokens, ++block) {
    const T* here = numbers(block);
    const T* next = first + a.block_tokens < row.length ? numbers(block + 1) : here;
    for (int64_t head = 0; head < end - begin; ++head) {
      use(head, first, std::min(a.block_tokens, row.length - first), here + head * of_head, next + head * of_head);
    }
  }
}

// Heads [begin, end) of a row. T: of the pool.
template <typename Q, typename T>
void AttendHeads(const DecodeAttention& a, const PlacedSequence& row, int64_t index, int64_t begin, int64_t end,
                 Scratch& scratch) {
  const int64_t heads = end - begin, place = (index * a.heads + begin) * a.width;
  const int64_t size = Held<T>::Size(a.width), room = row.length + static_cast<int64_t>(hn::Lanes(Tag()));
  const Q* query = static_cast<const Q*>(a.query) + place;
  scratch.query.assign(query, query + heads * a.width);
  scratch.sums.assign(static_cast<size_t>(heads * a.width), 0.0F);
  scratch.scores.resize(static_cast<size_t>(heads * room));
  float* const scores = scratch.scores.data();
  const auto score = [&](int64_t head, int64_t first, int64_t tokens, const T* keys, const T* next) {
    for (int64_t t = 0; t < tokens; ++t, keys += size, next += size) {
      Fetch(next, size);
      const float product = Dot(scratch.query.data() + head * a.width, keys, a.width);
      scores[head * room + first + t] = product * Held<T>::Scale(keys, a.width);
    }
  };
  ForBlocks<T>(a, row, a.keys, begin, end, score);
  std::vector<float> totals;
  for (int64_t head = 0; head < heads; ++head) totals.push_back(Exponentials(scores + head * room, row.length));
  const auto mix = [&](int64_t head, int64_t first, int64_t tokens, const T* values, const T* next) {
    float* shares = scores + head * room + first;
    for (int64_t t = 0; t < tokens; ++t) {
      Fetch(next + t * size, size);
      shares[t] *= Held<T>::Scale(values + t * size, a.width);
    }
    Add(shares, values, tokens, a.width, scratch.sums.data() + head * a.width);
  };
  ForBlocks<T>(a, row, a.values, begin, end, mix);
  Q* out = static_cast<Q*>(a.out) + place;
  for (int64_t i = 0; i < heads * a.width; ++i) out[i] = static_cast<Q>(scratch.sums[i] / totals[i / a.width]);
}

template <typename Q, typename T>
void AttendAll(const DecodeAttention& a, std::span<const PlacedSequence> rows) {
  int64_t longest = 1;
  for (const PlacedSequence& row : rows) longest = std::max(longest, row.length);
  const int64_t count = static_cast<int64_t>(rows.size()) * a.heads;
  const int64_t grain = std::max<int64_t>(count / (kPieces * at::get_num_threads()), kLeastWork / (longest * a.width));
  ShareOut(count, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t i = begin; i < end;) {
      const int64_t head = i % a.heads, heads = std::min(a.heads - head, end - i);
      AttendHeads<Q, T>(a, rows[i / a.heads], i / a.heads, head, head + heads, scratch);
      i += heads;
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
