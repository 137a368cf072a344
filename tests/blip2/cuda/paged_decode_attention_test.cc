// The kernel for decode steps on a card: its source as plain C++ against the attention of the CPU, and compiled for
// cards where the compiler is installed.
#include "blip2/cuda/paged_decode_attention.h"

#include <ATen/ATen.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "blip2/paged_attention.h"
#include "tests/blip2/cuda/emulated_cuda.h"
#include "tests/blip2/cuda/nvrtc.h"
// After the emulation.
#include "blip2/cuda/paged_decode_attention.cu"

namespace diptych_cuda {

inline float Widened(Float16 x) {
  return c10::Half(x.bits, c10::Half::from_bits());
}
inline void Narrow(float x, Float16& out) {
  out.bits = c10::Half(x).x;
}

}  // namespace diptych_cuda

namespace diptych::blip2 {
namespace {

using diptych_cuda::BFloat16;
using diptych_cuda::Float16;
using diptych_cuda::Float32;
using ::testing::HasSubstr;

template <typename Element, int kWidth>
void Emulate(const PagedDecode& rows) {
  const auto in = [](const at::Tensor& x) { return static_cast<const Element*>(x.const_data_ptr()); };
  const auto indices = [](const at::Tensor& x) {
    return reinterpret_cast<const long long*>(x.const_data_ptr<int64_t>());  // NOLINT(google-runtime-int): CUDA's
  };
  auto* out = static_cast<Element*>(rows.out.mutable_data_ptr());
  const emulated::Index grid = {.x = static_cast<int>(rows.tokens.size(0)), .y = static_cast<int>(rows.query.size(1))};
  emulated::Run(grid, diptych_cuda::kThreads, [&] {
    diptych_cuda::Attend<Element, kWidth>(in(rows.query), in(rows.keys), in(rows.values), indices(rows.tokens),
                                          indices(rows.tables), indices(rows.lengths), out,
                                          static_cast<int>(rows.keys.size(2)), static_cast<int>(rows.tables.size(1)));
  });
}

struct Kind {
  std::string name;
  at::ScalarType type;
  int64_t width;
  AttendPaged attend;
  double tolerance;
};

template <int kWidth>
std::vector<Kind> KindsOf() {
  const std::string width = std::to_string(kWidth);
  return {{"Float" + width, at::kFloat, kWidth, &Emulate<Float32, kWidth>, 2e-5},
          {"BFloat16x" + width, at::kBFloat16, kWidth, &Emulate<BFloat16, kWidth>, 1e-2},
          {"Half" + width, at::kHalf, kWidth, &Emulate<Float16, kWidth>, 1e-3}};
}

// 80 is OPT-2.7b's, 32 the demo model's; 20 and 7 leave threads over, and rows of 7 are read number by number.
std::vector<Kind> Kinds() {
  std::vector<Kind> all = KindsOf<80>();
  for (const auto& kinds : {KindsOf<32>(), KindsOf<128>(), KindsOf<20>(), KindsOf<7>()}) all.push_back(kinds[1]);
  return all;
}

constexpr int64_t kHeads = 2;
constexpr int64_t kBlocks = 24;
constexpr int64_t kBlockTokens = 16;

class PagedDecodeKernelTest : public ::testing::TestWithParam<Kind> {
 protected:
  at::Tensor Noise(std::vector<int64_t> shape, int64_t seed) const {
    int64_t count = 1;
    for (const int64_t side : shape) count *= side;
    const at::Tensor at = at::arange(count, at::kDouble).add_(977 * seed);
    return at::sin(at.square().mul_(0.3)).mul_(2).view(shape).to(kind_.type);
  }

  // Rows of these lengths, whose blocks lie everywhere in the pool -> [R, H, Dh].
  at::Tensor Attend(const std::vector<int64_t>& lengths, const at::Tensor& tokens) const {
    const auto rows = static_cast<int64_t>(lengths.size());
    const at::Tensor out = at::full({query_.size(0), kHeads * kind_.width}, kUntouched, query_.options());
    kind_.attend({.query = query_,
                  .keys = keys_,
                  .values = values_,
                  .tokens = tokens,
                  .tables = Tables().narrow(0, 0, rows).contiguous(),
                  .lengths = at::tensor(lengths, at::kLong),
                  .out = out});
    return out.view({-1, kHeads, kind_.width});
  }

  // [6, W] int64
  static at::Tensor Tables() {
    return at::arange(6 * kBlocks, at::kLong).mul_(7).add_(3).remainder_(kBlocks).view({6, kBlocks});
  }

  // In double precision: row `row` of the tables, query [H, Dh] -> [H, Dh].
  at::Tensor Expected(const at::Tensor& query, int64_t row, int64_t length) const {
    const auto read = [&](const at::Tensor& pool) {
      return pool.index_select(0, Tables()[row]).transpose(1, 2).flatten(0, 1).narrow(0, 0, length).to(at::kDouble);
    };
    const at::Tensor scores = (read(keys_) * query.to(at::kDouble)).sum(2).softmax(0);
    return (read(values_) * scores.unsqueeze(2)).sum(0);
  }

  static constexpr double kUntouched = 77;
  const Kind& kind_ = GetParam();
  at::Tensor query_ = Noise({7, kHeads, kind_.width}, 1);
  at::Tensor keys_ = Noise({kBlocks, kHeads, kBlockTokens, kind_.width}, 2);
  at::Tensor values_ = Noise({kBlocks, kHeads, kBlockTokens, kind_.width}, 3);
};

TEST_P(PagedDecodeKernelTest, IsTheFormula) {
  const std::vector<int64_t> lengths = {1, 17, 128, 129, 300}, tokens = {6, 0, 3, 1, 5};
  const at::Tensor out = Attend(lengths, at::tensor(tokens, at::kLong));
  for (size_t row = 0; row < lengths.size(); ++row) {
    const auto expected = Expected(query_[tokens[row]], static_cast<int64_t>(row), lengths[row]);
    EXPECT_LT((out[tokens[row]].to(at::kDouble) - expected).abs().max().item<double>(), kind_.tolerance)
        << "row " << row;
  }
  for (const int64_t other : {2, 4}) EXPECT_TRUE(out[other].eq(kUntouched).all().item<bool>());
}

TEST_P(PagedDecodeKernelTest, ARowHasTheSameBitsInEveryBatch) {
  const at::Tensor together = Attend({150, 40, 3}, at::tensor({4, 2, 0}, at::kLong));
  EXPECT_TRUE(Attend({150}, at::tensor({4}, at::kLong))[4].equal(together[4]));
}

TEST_P(PagedDecodeKernelTest, NothingAfterTheLengthIsRead) {
  const at::Tensor token = at::tensor({2}, at::kLong);
  const at::Tensor before = Attend({130}, token)[2];
  const int64_t last = Tables()[0][130 / kBlockTokens].item<int64_t>();
  for (const at::Tensor* pool : {&keys_, &values_}) {
    (*pool)[last]
        .narrow(1, 130 % kBlockTokens, kBlockTokens - 130 % kBlockTokens)
        .fill_(std::numeric_limits<double>::quiet_NaN());
  }
  EXPECT_TRUE(Attend({130}, token)[2].equal(before));
}

TEST_P(PagedDecodeKernelTest, ScoresFarApartStayFiniteAndWhatIsNotANumberIsToldSo) {
  const at::Tensor token = at::tensor({2}, at::kLong);
  query_.fill_(8);
  keys_.fill_(-200);
  keys_[Tables()[0][9].item<int64_t>()].fill_(200);  // only in the second round
  EXPECT_TRUE(Attend({160}, token)[2].isfinite().all().item<bool>());
  keys_[Tables()[0][9].item<int64_t>()].fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(Attend({160}, token)[2].isnan().all().item<bool>());
}

// With the tables that PagedAttention makes, next to rows that the kernel does not see.
TEST_P(PagedDecodeKernelTest, APassIsTheSameAsOnTheCpu) {
  const std::vector<std::vector<int32_t>> blocks = {{3, 9, 1}, {4}, {22, 0, 7, 5, 11}, {12, 13}};
  const std::vector<PagedRow> rows = {{.past = 40, .tokens = 1, .blocks = blocks[0]},
                                      {.past = 0, .tokens = 1, .blocks = blocks[1]},
                                      {.past = 3, .tokens = 3, .blocks = blocks[3]},
                                      {.past = 64, .tokens = 1, .blocks = blocks[2]}};
  const auto run = [&](const AttendPaged& attend) {
    const at::Tensor keys = keys_.clone(), values = values_.clone();
    return PagedAttention(rows, {}, kBlockTokens, at::kCPU, attend)(
        query_.narrow(0, 0, 6), Noise({6, kHeads, kind_.width}, 5), Noise({6, kHeads, kind_.width}, 6), keys, values);
  };
  const at::Tensor off = run(kind_.attend).to(at::kDouble) - run(nullptr).to(at::kDouble);
  EXPECT_LT(off.abs().max().item<double>(), 2 * kind_.tolerance);
}

INSTANTIATE_TEST_SUITE_P(Kinds, PagedDecodeKernelTest, ::testing::ValuesIn(Kinds()),
                         [](const auto& info) { return info.param.name; });

TEST(KernelNumbersTest, BFloat16IsRoundedAsElsewhere) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> numbers = {0,           -0.0F,      kInfinity, -kInfinity, std::numeric_limits<float>::max(),
                                1.00390625F, 1.01171875F};
  for (int i = 0; i < 1000; ++i) numbers.push_back(std::sin(static_cast<float>(i)) * static_cast<float>(i * i));
  for (const float number : numbers) {
    BFloat16 rounded;
    diptych_cuda::Narrow(number, rounded);
    EXPECT_EQ(rounded.bits, c10::BFloat16(number).x) << number;
  }
  BFloat16 rounded;
  diptych_cuda::Narrow(std::numeric_limits<float>::quiet_NaN(), rounded);
  EXPECT_TRUE(std::isnan(diptych_cuda::Widened(rounded)));
}

class KernelCompilerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!OpenNvrtcForTests()) GTEST_SKIP() << "no NVRTC here; scripts/setup.sh fetches it";
  }
};

TEST_F(KernelCompilerTest, AcceptsTheKernelForEveryTypeWidthAndCard) {
  const auto accepts = [](at::ScalarType type, int64_t width, const char* card) {
    const auto code = CompileKernel(*PagedDecodeSource(type, width), card);
    ASSERT_TRUE(code.ok()) << code.status();
    EXPECT_THAT(*code, HasSubstr("PagedDecodeAttention"));
  };
  for (const char* card : {"sm_80", "sm_89", "sm_90", "sm_100"}) accepts(at::kBFloat16, 80, card);
  for (const int64_t width : {7, 32, 64, 128}) accepts(at::kBFloat16, width, "sm_90");
  for (const at::ScalarType type : {at::kFloat, at::kHalf}) accepts(type, 80, "sm_90");
}

TEST_F(KernelCompilerTest, SaysWhatItRefuses) {
  const auto code = CompileKernel({.text = "extern \"C\" __global__ void K() { nonsense; }", .name = "K"}, "sm_90");
  EXPECT_EQ(code.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(code.status().message()), HasSubstr("nonsense"));
  EXPECT_FALSE(CompileKernel(*PagedDecodeSource(at::kFloat, 80), "sm_1").ok());
}

TEST(PagedDecodeSourceTest, KnowsWhatItCannotRead) {
  EXPECT_EQ(PagedDecodeSource(at::kFloat, 129).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PagedDecodeSource(at::kDouble, 80).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CudaKernelTest, SaysWhyThereIsNoneWithoutADriver) {
  if (dlopen("libcuda.so.1", RTLD_NOW) != nullptr) GTEST_SKIP() << "there is a driver";
  const auto kernel = MakePagedDecodeAttention(c10::Device(at::kCUDA, 0), at::kHalf, 80);
  EXPECT_EQ(kernel.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(kernel.status().message()), HasSubstr("libcuda.so.1"));
}

}  // namespace
}  // namespace diptych::blip2
