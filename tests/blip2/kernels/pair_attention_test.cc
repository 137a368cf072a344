// Attention in pairs of bfloat16.
#include "blip2/kernels/pair_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "blip2/kernels/processor.h"

namespace diptych::blip2 {
namespace {

// [B, T, 3, H, Dh] in (−2, 2), bfloat16.
at::Tensor NoisyHeads(int64_t batch, int64_t tokens, int64_t heads, int64_t width) {
  const int64_t count = batch * tokens * 3 * heads * width;
  const at::Tensor noise = at::sin(at::arange(count, at::kDouble).square().mul_(0.3)).mul_(2);
  return noise.view({batch, tokens, 3, heads, width}).to(at::kBFloat16);
}

// [B, H, T, Dh], where `noise` has it.
at::Tensor Part(const at::Tensor& noise, int64_t part) {
  return noise.select(2, part).transpose(1, 2);
}

StridedHeads Strided(const at::Tensor& x) {
  return {.data = x.const_data_ptr<c10::BFloat16>(),
          .batch_stride = x.stride(0),
          .head_stride = x.stride(1),
          .token_stride = x.stride(2)};
}

// -> [B, T, H·Dh]
at::Tensor Attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale) {
  at::Tensor out = at::full({query.size(0), query.size(2), query.size(1) * query.size(3)},
                            std::numeric_limits<double>::quiet_NaN(), at::kBFloat16);
  AttendPairs({.batch = query.size(0),
               .heads = query.size(1),
               .queries = query.size(2),
               .keys = key.size(2),
               .width = query.size(3),
               .scale = static_cast<float>(scale),
               .query = Strided(query),
               .key = Strided(key),
               .value = Strided(value),
               .out = out.mutable_data_ptr<c10::BFloat16>()});
  return out;
}

at::Tensor InDoublePrecision(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale) {
  const at::Tensor scores = at::matmul(query.to(at::kDouble), key.to(at::kDouble).transpose(2, 3)).mul_(scale);
  return at::matmul(scores.softmax(-1), value.to(at::kDouble)).transpose(1, 2).flatten(2);
}

class PairAttentionTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  const LimitedInstructionSet limited_{GetParam()};
};

TEST_P(PairAttentionTest, IsNearAttentionInDoublePrecision) {
  // Counts and widths that fill no pair, no panel and no tile.
  for (const int64_t width : {1, 5, 16, 24, 88}) {
    for (const int64_t tokens : {1, 2, 7, 12, 13, 33, 65}) {
      const at::Tensor noise = NoisyHeads(/*batch=*/2, tokens, /*heads=*/3, width);
      const at::Tensor query = Part(noise, 0), key = Part(noise, 1), value = Part(noise, 2);
      for (const double scale : {0.1, 1.0}) {
        const at::Tensor expected = InDoublePrecision(query, key, value, scale);
        const at::Tensor off = (Attend(query, key, value, scale).to(at::kDouble) - expected).abs();
        EXPECT_LT(off.max().item<double>(), 0.02) << width << " wide, " << tokens << " tokens";
      }
    }
  }
}

TEST_P(PairAttentionTest, QueriesAndKeysMayDifferInNumber) {
  const at::Tensor noise = NoisyHeads(2, 40, 2, 24);
  const at::Tensor query = Part(noise, 0).narrow(2, 3, 5), key = Part(noise, 1), value = Part(noise, 2);
  const at::Tensor off = Attend(query, key, value, 0.2).to(at::kDouble) - InDoublePrecision(query, key, value, 0.2);
  EXPECT_LT(off.abs().max().item<double>(), 0.02);
}

TEST_P(PairAttentionTest, AQueryHasTheSameBitsInEveryBatch) {
  const at::Tensor noise = NoisyHeads(3, 31, 2, 24);
  const at::Tensor query = Part(noise, 0), key = Part(noise, 1), value = Part(noise, 2);
  const at::Tensor together = Attend(query, key, value, 0.2);
  for (int64_t i = 0; i < 3; ++i) {
    const auto own = [i](const at::Tensor& x) { return x.narrow(0, i, 1); };
    EXPECT_TRUE(Attend(own(query), own(key), own(value), 0.2).equal(own(together)));
    for (const int64_t first : {0, 7, 30}) {
      const at::Tensor one = own(query).narrow(2, first, 1);
      EXPECT_TRUE(Attend(one, own(key), own(value), 0.2).equal(own(together).narrow(1, first, 1)));
    }
  }
}

TEST_P(PairAttentionTest, LargeScoresOverflowNothing) {
  const at::Tensor noise = NoisyHeads(1, 20, 1, 16).mul(100);
  const at::Tensor query = Part(noise, 0), key = Part(noise, 1), value = Part(noise, 2);
  const at::Tensor expected = InDoublePrecision(query, key, value, 1.0);
  EXPECT_TRUE(Attend(query, key, value, 1.0).to(at::kDouble).allclose(expected, /*rtol=*/0.01, /*atol=*/0.01));
}

TEST_P(PairAttentionTest, ANumberThatIsNotFiniteSpoilsItsImageAlone) {
  at::Tensor noise = NoisyHeads(3, 20, 2, 16);
  noise[1][5].fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor out = Attend(Part(noise, 0), Part(noise, 1), Part(noise, 2), 0.2);
  EXPECT_TRUE(out[0].isfinite().all().item<bool>());
  EXPECT_TRUE(out[1].isnan().all().item<bool>());
  EXPECT_TRUE(out[2].isfinite().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, PairAttentionTest, ::testing::ValuesIn(InstructionSets()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace diptych::blip2
