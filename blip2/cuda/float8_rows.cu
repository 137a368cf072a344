// Rows of bfloat16 as 8-bit floats (e4m3), each to its own scale, for products of such numbers. libtorch's operators
// would read and write a row several times.
//
// Compiled for the card in use when the program starts, of compute capability 8.9 or newer. Includes nothing, so that
// it needs no toolkit; tests/blip2/cuda/emulated_cuda.h makes it plain C++.

namespace diptych_cuda {

constexpr int kRoundingThreads = 128;  // of a block, which is one row
constexpr int kPerLoad = 8;            // numbers, 16 bytes
constexpr float kLargestFloat8 = 448;
constexpr float kLeastOfRow = 1e-12F;  // of what is scaled: a row of zeros has some scale

struct alignas(16) BFloat16s {
  unsigned short bits[kPerLoad];
};
struct alignas(8) Float8Pairs {
  unsigned short pairs[kPerLoad / 2];
};

__device__ inline float Wide(unsigned short bits) {
  return __uint_as_float(static_cast<unsigned int>(bits) << 16);
}

#ifdef __CUDACC__
// To the nearest, of two the even one, and at most the largest; `first` in the lower byte.
__device__ inline unsigned short Float8Pair(float first, float second) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
  return pair;
}
#endif

// One block of threads: row blockIdx.x.
//   rows [N, width]; values [N, width]; scales [N]; `width` a multiple of 16
__device__ inline void RoundRow(const unsigned short* rows, unsigned char* values, float* scales, int width) {
  __shared__ float largest_of[kRoundingThreads];
  const int thread = threadIdx.x, loads = width / kPerLoad;
  const long long begin = static_cast<long long>(blockIdx.x) * width;
  const auto* in = reinterpret_cast<const BFloat16s*>(rows + begin);
  auto* out = reinterpret_cast<Float8Pairs*>(values + begin);

  float largest = kLeastOfRow;
  for (int i = thread; i < loads; i += kRoundingThreads) {
    const BFloat16s numbers = in[i];
    for (int j = 0; j < kPerLoad; ++j) largest = fmaxf(largest, fabsf(Wide(numbers.bits[j])));
  }
  largest_of[thread] = largest;
  for (int half = kRoundingThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) largest_of[thread] = fmaxf(largest_of[thread], largest_of[thread + half]);
  }
  __syncthreads();
  largest = largest_of[0];
  if (thread == 0) scales[blockIdx.x] = largest * (1 / kLargestFloat8);

  const float factor = (1 / largest) * kLargestFloat8;
  for (int i = thread; i < loads; i += kRoundingThreads) {
    const BFloat16s numbers = in[i];
    Float8Pairs rounded;
    for (int j = 0; j < kPerLoad; j += 2) {
      rounded.pairs[j / 2] = Float8Pair(Wide(numbers.bits[j]) * factor, Wide(numbers.bits[j + 1]) * factor);
    }
    out[i] = rounded;
  }
}

}  // namespace diptych_cuda

#ifdef __CUDACC__
extern "C" __global__ void __launch_bounds__(diptych_cuda::kRoundingThreads)
    Float8Rows(const unsigned short* rows, unsigned char* values, float* scales, int width) {
  diptych_cuda::RoundRow(rows, values, scales, width);
}
#endif
