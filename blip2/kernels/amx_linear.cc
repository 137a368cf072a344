#include "blip2/kernels/amx_linear.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "blip2/kernels/amx_tiles-inl.h"
#include "blip2/kernels/finish_sums.h"
#include "blip2/kernels/uninitialized.h"

namespace diptych::blip2 {
namespace {

using namespace DIPTYCH_AMX_NAMESPACE;  // NOLINT

constexpr int64_t kTileInputs = kTileRowBytes;

// 64 inputs of a row, without the outliers' rests.
DIPTYCH_AMX void Narrow(const int16_t* from, std::byte* to) {
  constexpr auto kMost = static_cast<int16_t>(MaxActivation(ActivationBits::k7));
  for (int64_t k = 0; k < kTileInputs; k += kTileInputs / 2) {
    const __m512i values = _mm512_loadu_si512(from + k);
    const __m512i above = _mm512_max_epi16(values, _mm512_set1_epi16(-kMost));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), _mm512_maskz_cvtsepi16_epi8(~0U, above));  // at most 127
  }
}

class BytePanels {
 public:
  using Sum = int32_t;

  BytePanels(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y)
      : weights_(weights), x_(x), epilogue_(epilogue), y_(y) {
    if (weights.type == IntegerType::kInt4) unpacked_.resize(static_cast<size_t>(kPair * kCacheSteps * kTileBytes));
  }

  bool Unpacks() const { return weights_.type == IntegerType::kInt4; }
  int64_t StepBytes() const { return weights_.type == IntegerType::kInt8 ? kTileBytes : kTileBytes / 2; }
  const std::byte* Source(int64_t panel, int64_t step) const {
    return reinterpret_cast<const std::byte*>(weights_.values + panel * PanelBytes(weights_.type, weights_.in)) +
           step * StepBytes();
  }

  // int8's values lie so; int4's are unpacked to `place`.
  const std::byte* Tiles(int64_t panel, int64_t step, int64_t steps, int64_t place, const std::byte* next) {
    if (weights_.type == IntegerType::kInt8) return Source(panel, step);
    constexpr int64_t kQuads = kTileInputs / kQuad;
    int8_t* to = unpacked_.data() + place * kCacheSteps * kTileBytes;
    UnpackInt4(weights_, panel, step * kQuads, steps * kQuads, to, reinterpret_cast<const int8_t*>(next));
    return reinterpret_cast<const std::byte*>(to);
  }

  void Enter(const Chunk& chunk) {
    first_ = chunk.tile * kTileRows;
    rests_ = x_.Outliers(first_, std::min((chunk.tile + chunk.tiles) * kTileRows, x_.rows), chunk.step * kTileInputs,
                         (chunk.step + chunk.steps) * kTileInputs);
  }
  void Complete(int64_t row, int64_t rows, int64_t panel, int32_t* sums) {
    AddRests(weights_, std::span(rests_).subspan(row - first_, rows), panel, sums);
  }
  void Finish(int64_t row, int64_t rows, int64_t panel, const int32_t* sums) {
    FinishSums(weights_, x_, epilogue_, row, rows, panel, sums, y_);
  }

 private:
  const IntegerWeights& weights_;
  const IntegerRows& x_;
  const Epilogue<float> epilogue_;
  float* const y_;
  Uninitialized<int8_t> unpacked_;               // [2 panels, kCacheSteps, 1 KiB]
  int64_t first_ = 0;                            // row of the chunk
  std::vector<std::span<const Outlier>> rests_;  // of its rows, in its inputs
};

}  // namespace

void MultiplyTiles(const IntegerWeights& weights, const IntegerRows& x, const Epilogue<float>& epilogue, float* y) {
  const RowTiles rows(x.rows, x.padded / kTileInputs, [&](int64_t row, std::byte* to) {
    const int16_t* from = x.values.data() + row * x.padded;
    for (int64_t k = 0; k < x.padded; k += kTileInputs, to += kTileBytes) Narrow(from + k, to);
  });
  MultiplyStrips(rows, Panels(weights.out), BytePanels(weights, x, epilogue, y));
}

}  // namespace diptych::blip2

#else

namespace diptych::blip2 {

void MultiplyTiles(const IntegerWeights&, const IntegerRows&, const Epilogue<float>&, float*) {}

}  // namespace diptych::blip2

#endif
