// Attention of single tokens to keys and values in the blocks of a pool, read where they lie.
//
// Compiled for the card in use when the program starts, with ELEMENT (Float32, BFloat16 or Float16) and WIDTH (Dh) as
// macros. Includes nothing, so that it needs no toolkit; tests/blip2/cuda/emulated_cuda.h makes it plain C++.

namespace diptych_cuda {

constexpr int kThreads = 128;  // of a block, which is one head of one row; no less than the width

struct Float32 {
  float value;
};
struct BFloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

__device__ inline float Widened(Float32 x) {
  return x.value;
}
__device__ inline float Widened(BFloat16 x) {
  return __uint_as_float(static_cast<unsigned int>(x.bits) << 16);
}
__device__ inline void Narrow(float x, Float32& out) {
  out.value = x;
}
// To the nearest, of two the even one; what is not a number stays so.
__device__ inline void Narrow(float x, BFloat16& out) {
  const unsigned int bits = __float_as_uint(x);
  const unsigned int rounded = x == x ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x400000;
  out.bits = static_cast<unsigned short>(rounded >> 16);
}
#ifdef __CUDACC__
__device__ inline float Widened(Float16 x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
}
__device__ inline void Narrow(float x, Float16& out) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
}
#endif

// As many elements as one load brings, if rows of `kWidth` begin where such a load may.
template <typename Element, int kWidth>
struct Pack {
  static constexpr int kCount = kWidth * sizeof(Element) % 16 == 0 ? 16 / sizeof(Element) : 1;
  struct alignas(kCount * sizeof(Element)) Elements {
    Element at[kCount];
  };
};

template <typename Element, int kWidth>
__device__ float Dot(const float* query, const Element* key) {
  using Packed = Pack<Element, kWidth>;
  const auto* packs = reinterpret_cast<const typename Packed::Elements*>(key);
  float sum = 0;
  for (int i = 0; i < kWidth / Packed::kCount; ++i) {
    const typename Packed::Elements pack = packs[i];
    for (int j = 0; j < Packed::kCount; ++j) sum += query[i * Packed::kCount + j] * Widened(pack.at[j]);
  }
  return sum;
}

// One block of threads: row blockIdx.x, head blockIdx.y of gridDim.y. Takes kThreads tokens at a time: each thread
// makes the score of one token, then adds up one element of the result over some of the tokens. What was summed with a
// smaller largest score is scaled when a larger one comes. Sums and their order depend on the row alone.
//   query and out [N, H, kWidth]; keys, values [blocks, H, block_tokens, kWidth]; tokens [R]: which of the N each row
//   is; tables [R, table_width]: each row's blocks; lengths [R] >= 1: how many tokens it reads
template <typename Element, int kWidth>
__device__ void Attend(const Element* query, const Element* keys, const Element* values, const long long* tokens,
                       const long long* tables, const long long* lengths, Element* out, int block_tokens,
                       int table_width) {
  static_assert(kWidth <= kThreads, "a thread makes one element of the result");
  constexpr int kGroups = kThreads / kWidth;  // of threads, each of which adds up every kGroups-th token
  __shared__ float wide_query[kWidth];
  __shared__ float scores[kThreads];
  __shared__ float weights[kThreads];
  __shared__ long long places[kThreads];  // of the tokens' first elements in the pool
  __shared__ float sums[kThreads];

  const int thread = threadIdx.x, head = blockIdx.y, heads = gridDim.y;
  const int group = thread / kWidth, element = thread % kWidth;
  const long long* table = tables + static_cast<long long>(blockIdx.x) * table_width;
  const long long length = lengths[blockIdx.x];
  const long long own = (tokens[blockIdx.x] * heads + head) * kWidth;
  if (thread < kWidth) wide_query[thread] = Widened(query[own + thread]);
  __syncthreads();

  float largest = -__int_as_float(0x7f800000), total = 0, sum = 0;
  for (long long begin = 0; begin < length; begin += kThreads) {
    const int count = length - begin < kThreads ? static_cast<int>(length - begin) : kThreads;
    const long long token = begin + thread;
    long long place = 0;
    if (thread < count) {
      const long long block = table[token / block_tokens];
      place = ((block * heads + head) * block_tokens + token % block_tokens) * kWidth;
      scores[thread] = Dot<Element, kWidth>(wide_query, keys + place);
    }
    __syncthreads();
    float next = largest;
    for (int i = 0; i < count; ++i) next = fmaxf(next, scores[i]);
    if (thread < count) {
      weights[thread] = expf(scores[thread] - next);
      places[thread] = place;
    }
    __syncthreads();
    const float scale = expf(largest - next);
    largest = next;
    total *= scale;
    sum *= scale;
    for (int i = 0; i < count; ++i) total += weights[i];
    if (group < kGroups) {
      for (int i = group; i < count; i += kGroups) sum += weights[i] * Widened(values[places[i] + element]);
    }
  }
  sums[thread] = sum;
  __syncthreads();
  if (thread >= kWidth) return;
  float all = 0;
  for (int i = 0; i < kGroups; ++i) all += sums[i * kWidth + thread];
  Narrow(all / total, out[own + thread]);
}

}  // namespace diptych_cuda

#ifdef ELEMENT
extern "C" __global__ void __launch_bounds__(diptych_cuda::kThreads)
    PagedDecodeAttention(const diptych_cuda::ELEMENT* query, const diptych_cuda::ELEMENT* keys,
                         const diptych_cuda::ELEMENT* values, const long long* tokens, const long long* tables,
                         const long long* lengths, diptych_cuda::ELEMENT* out, int block_tokens, int table_width) {
  diptych_cuda::Attend<diptych_cuda::ELEMENT, WIDTH>(query, keys, values, tokens, tables, lengths, out, block_tokens,
                                                     table_width);
}
#endif
