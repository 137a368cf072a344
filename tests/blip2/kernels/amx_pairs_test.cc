// The product of pairs by tiles on a processor without them: its own source, compiled for tiles in plain C++. On a
// processor with AMX pair_linear_test runs the real ones.
#if defined(__x86_64__)

#include <gtest/gtest.h>
#include <immintrin.h>

#include <cmath>
#include <limits>
#include <vector>

#include "blip2/kernels/pair_linear.h"
#include "blip2/kernels/processor.h"
#include "tests/blip2/kernels/amx_emulation.h"
#include "tests/blip2/kernels/integer_inputs.h"

#define MultiplyPairTiles MultiplyEmulatedPairTiles
#define MultiplyArrangedPairs MultiplyEmulatedArrangedPairs
#include "blip2/kernels/amx_pairs.cc"  // NOLINT(bugprone-suspicious-include)
#undef MultiplyPairTiles
#undef MultiplyArrangedPairs

namespace diptych::blip2 {
namespace {

using Numbers = std::vector<c10::BFloat16>;

Numbers NoiseInPairs(int64_t count, int seed) {
  const std::vector<float> noise = Noise(count, seed);
  return {noise.begin(), noise.end()};
}

// The last panel's last tile is followed by what is no number.
Numbers Packed(const Numbers& weight, int64_t in) {
  const auto out = static_cast<int64_t>(weight.size()) / in;
  Numbers values(static_cast<size_t>(Panels(out) * PairPanelSize(in) + kTileBytes),
                 c10::BFloat16(std::numeric_limits<float>::quiet_NaN()));
  PackPairs({.blocks = {{.type = WeightType::kBFloat16, .data = weight.data(), .rows = out}}, .in = in}, values.data());
  return values;
}

std::vector<float> ByTiles(const PairWeights& weights, const c10::BFloat16* x, int64_t rows) {
  std::vector<float> y(static_cast<size_t>(rows * weights.out), std::numeric_limits<float>::quiet_NaN());
  MultiplyEmulatedPairTiles(weights, x, rows, [&](int64_t row, int64_t count, int64_t panel, const float* sums) {
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t o = panel * kPanel; o < std::min((panel + 1) * kPanel, weights.out); ++o) {
        y[(row + r) * weights.out + o] = sums[r * kPanel + o % kPanel];
      }
    }
  });
  return y;
}

TEST(AmxPairsTest, IsNearTheOtherKernelsProductAndARowHasTheSameBitsInEveryBatch) {
  const LimitedInstructionSet limited(InstructionSet::kBaseline);
  // Widths and outputs that fill no tile and no panel, more than one piece and more than one chunk; rows that fill no
  // tile, and more than one strip of them.
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {131, 67}, {1000, 40}, {4200, 33}}) {
    const Numbers values = Packed(NoiseInPairs(in * out, 1), in);
    const PairWeights weights = {.in = in, .out = out, .values = values.data()};
    for (const int64_t rows : {1, 15, 16, 17, 33, 250, 600}) {
      if (rows * in * out > 40'000'000) continue;
      const Numbers x = NoiseInPairs(rows * in, 3);
      std::vector<float> expected(static_cast<size_t>(rows * out));
      MultiplyPairPanels(weights, x.data(), rows, Epilogue<float>(), expected.data());
      const std::vector<float> y = ByTiles(weights, x.data(), rows);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 1e-6 * static_cast<double>(in)) << i;
      const std::vector<float> last = ByTiles(weights, x.data() + (rows - 1) * in, 1);
      ASSERT_EQ(last, std::vector<float>(y.end() - out, y.end())) << rows << " rows, " << in << " to " << out;
    }
  }
}

}  // namespace
}  // namespace diptych::blip2

#endif
