// Attention that reads blocks in place, on every instruction set of this machine and in every type.
#include "blip2/kernels/decode_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "blip2/kernels/processor.h"
#include "blip2/kernels/rounded_kv.h"

namespace diptych::blip2 {
namespace {

struct Type {
  at::ScalarType tensor;
  WeightType kernel;
  at::ScalarType pool_tensor;
  std::optional<WeightType> pool_kernel;
  double tolerance;
};

constexpr Type kFloat = {at::kFloat, WeightType::kFloat32, at::kFloat, WeightType::kFloat32, 2e-5};
constexpr Type kBFloat16 = {at::kBFloat16, WeightType::kBFloat16, at::kBFloat16, WeightType::kBFloat16, 1e-2};
constexpr Type kHalf = {at::kHalf, WeightType::kFloat16, at::kHalf, WeightType::kFloat16, 1e-3};
constexpr Type kFloatBesideBFloat16 = {at::kFloat, WeightType::kFloat32, at::kBFloat16, WeightType::kBFloat16, 2e-5};
constexpr Type kFloatBesideBytes = {at::kFloat, WeightType::kFloat32, at::kChar, std::nullopt, 2e-5};
constexpr Type kBFloat16BesideBytes = {at::kBFloat16, WeightType::kBFloat16, at::kChar, std::nullopt, 1e-2};

constexpr int64_t kBlocks = 9;
constexpr int64_t kBlockTokens = 5;

class DecodeAttentionTest : public ::testing::TestWithParam<std::tuple<InstructionSet, Type>> {
 protected:
  at::Tensor Noise(std::vector<int64_t> shape, int64_t seed) const {
    int64_t count = 1;
    for (const int64_t side : shape) count *= side;
    const at::Tensor at = at::arange(count, at::kDouble).add_(977 * seed);
    return at::sin(at.square().mul_(0.3)).mul_(2).view(shape).to(type_.tensor);
  }

  // query [R, H, Dh] -> [R, H, Dh]
  at::Tensor Attend(const at::Tensor& query, const std::vector<PlacedSequence>& rows) const {
    const at::Tensor out = at::full_like(query, std::numeric_limits<double>::quiet_NaN());
    const at::Tensor keys = Held(keys_), values = Held(values_);
    AttendInPlace({.type = type_.kernel,
                   .pool_type = type_.pool_kernel,
                   .heads = query.size(1),
                   .width = query.size(2),
                   .block_tokens = kBlockTokens,
                   .query = query.const_data_ptr(),
                   .keys = keys.const_data_ptr(),
                   .values = values.const_data_ptr(),
                   .out = out.mutable_data_ptr()},
                  rows);
    return out;
  }

  void MakePool(int64_t heads, int64_t width) {
    const std::vector<int64_t> shape = {kBlocks, heads, kBlockTokens, width};
    const bool in_bytes = type_.pool_tensor == at::kChar;
    const auto stored = [&](const at::Tensor& noise) {
      return in_bytes ? Widened(noise) : noise.to(type_.pool_tensor);
    };
    keys_ = stored(Noise(shape, 1));
    values_ = stored(Noise(shape, 2));
  }

  // As the pool holds it.
  at::Tensor Held(const at::Tensor& x) const { return type_.pool_tensor == at::kChar ? Rounded(x) : x; }
  static at::Tensor Rounded(const at::Tensor& x) {
    const at::Tensor numbers = x.to(at::kFloat).contiguous();
    at::Tensor rounded = at::empty({x.size(0), x.size(1), x.size(2), x.size(3) + kKvScaleBytes}, at::kChar);
    RoundKv(WeightType::kFloat32, numbers.const_data_ptr(), x.numel() / x.size(3), x.size(3),
            rounded.mutable_data_ptr<int8_t>());
    return rounded;
  }
  static at::Tensor Widened(const at::Tensor& x) {
    at::Tensor widened = at::empty_like(x, at::kFloat);
    WidenKv(Rounded(x).const_data_ptr<int8_t>(), x.numel() / x.size(3), x.size(3), WeightType::kFloat32,
            widened.mutable_data_ptr());
    return widened;
  }

  // The same in double precision: query [H, Dh] -> [H, Dh].
  at::Tensor Expected(const at::Tensor& query, const PlacedSequence& row) const {
    std::vector<at::Tensor> keys, values;
    for (int64_t t = 0; t < row.length; ++t) {
      const int64_t block = row.blocks[t / kBlockTokens];
      keys.push_back(keys_[block].select(1, t % kBlockTokens).to(at::kDouble));
      values.push_back(values_[block].select(1, t % kBlockTokens).to(at::kDouble));
    }
    const at::Tensor scores = (at::stack(keys) * query.to(at::kDouble)).sum(2).softmax(0);
    return (at::stack(values) * scores.unsqueeze(2)).sum(0);
  }

  const Type type_ = std::get<1>(GetParam());
  at::Tensor keys_;    // [blocks, H, block_tokens, Dh], numbers that the pool can hold
  at::Tensor values_;  // likewise

 private:
  const LimitedInstructionSet limited_{std::get<0>(GetParam())};
};

const std::vector<int32_t> kFirst = {3, 0, 7, 8};
const std::vector<int32_t> kSecond = {1, 7, 2, 4};  // shares a block
const std::vector<int32_t> kThird = {5};

TEST_P(DecodeAttentionTest, IsTheFormula) {
  for (const int64_t width : {1, 7, 32, 80}) {
    MakePool(/*heads=*/3, width);
    const at::Tensor query = Noise({3, 3, width}, 4);
    const std::vector<PlacedSequence> rows = {{17, kFirst}, {20, kSecond}, {1, kThird}};
    const at::Tensor out = Attend(query, rows);
    for (size_t r = 0; r < rows.size(); ++r) {
      const at::Tensor off = out[r].to(at::kDouble) - Expected(query[r], rows[r]);
      EXPECT_LT(off.abs().max().item<double>(), type_.tolerance) << "row " << r << ", width " << width;
    }
  }
}

TEST_P(DecodeAttentionTest, ARowHasTheSameBitsInEveryBatch) {
  MakePool(/*heads=*/2, 24);
  const at::Tensor query = Noise({3, 2, 24}, 4);
  const at::Tensor together = Attend(query, {{17, kFirst}, {20, kSecond}, {1, kThird}});
  EXPECT_TRUE(Attend(query.narrow(0, 1, 1), {{20, kSecond}})[0].equal(together[1]));
}

TEST_P(DecodeAttentionTest, NothingAfterTheLengthIsRead) {
  MakePool(/*heads=*/2, 24);
  const at::Tensor query = Noise({1, 2, 24}, 4);
  const at::Tensor before = Attend(query, {{6, kFirst}});
  for (const at::Tensor* pool : {&keys_, &values_}) {
    (*pool)[0].narrow(1, 1, kBlockTokens - 1).fill_(std::numeric_limits<double>::quiet_NaN());
    (*pool)[7].fill_(std::numeric_limits<double>::infinity());
  }
  EXPECT_TRUE(Attend(query, {{6, kFirst}}).equal(before));
}

TEST_P(DecodeAttentionTest, ScoresFarApartStayFinite) {
  MakePool(/*heads=*/1, 16);
  keys_[kThird[0]][0][0].fill_(200);
  keys_[kThird[0]][0][1].fill_(-200);
  const at::Tensor query = at::full({1, 1, 16}, 8.0, type_.tensor);
  const at::Tensor out = Attend(query, {{2, kThird}});
  EXPECT_TRUE(at::allclose(out[0][0].to(at::kFloat), values_[kThird[0]][0][0].to(at::kFloat)));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, DecodeAttentionTest,
                         ::testing::Combine(::testing::ValuesIn(InstructionSets()),
                                            ::testing::Values(kFloat, kBFloat16, kHalf, kFloatBesideBFloat16,
                                                              kFloatBesideBytes, kBFloat16BesideBytes)),
                         [](const auto& info) {
                           const Type& type = std::get<1>(info.param);
                           return std::string(Name(std::get<0>(info.param))) + c10::toString(type.tensor) + "Beside" +
                                  c10::toString(type.pool_tensor);
                         });

}  // namespace
}  // namespace diptych::blip2
