// The model on a card against the model on the CPU. Skipped where there is no card.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blip2/cuda/float8_rows.h"
#include "blip2/cuda/paged_decode_attention.h"
#include "blip2/cuda/step_recorder.h"
#include "blip2/decoding/batch_choice.h"
#include "blip2/device/transfer.h"
#include "blip2/matrices/float8_matrix.h"
#include "blip2/matrices/integer_matrix.h"
#include "blip2/matrices/weight_only_matrix.h"
#include "blip2/opt.h"
#include "blip2/paged_attention.h"
#include "blip2/qformer.h"
#include "blip2/vision_graphs.h"
#include "blip2/vision_model.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;

constexpr double kTolerance = 1e-4;  // float32 against float32, on values of order one
constexpr int64_t kPoolBlockTokens = 4;

// In (−1, 1).
at::Tensor Wave(std::vector<int64_t> shape) {
  const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return at::sin(at::arange(count, at::kDouble).square().mul_(0.7)).to(at::kFloat).view(shape);
}

void ExpectClose(const at::Tensor& on_card, const at::Tensor& expected) {
  ASSERT_EQ(on_card.sizes(), expected.sizes());
  EXPECT_LT((Download(on_card).to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>(), kTolerance);
}

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto placement = ParsePlacement("cuda", "float32");
    if (!placement.ok()) GTEST_SKIP() << placement.status().message();
    card_ = *placement;
  }

  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/12};
  const std::unique_ptr<Checkpoint> open_ = checkpoint_.Open();
  Placement card_;
};

TEST_F(CudaTest, NumbersComeBackAsTheyWent) {
  const at::Tensor numbers = Wave({3, 1000});
  const at::Tensor uploaded = Upload(numbers, card_.device);
  EXPECT_TRUE(uploaded.is_cuda());
  EXPECT_TRUE(Download(uploaded).equal(numbers));
  EXPECT_EQ(Download(uploaded.narrow(0, 0, 0)).size(0), 0);
}

TEST_F(CudaTest, ImagesAreEncodedAsOnTheCpu) {
  const VisionModel card(*open_, card_), host(*open_, Placement{});
  for (const int merging : {0, 1}) {
    const at::Tensor pixels = Wave({3, 3, 20, 20});
    ExpectClose(card.Forward(pixels, merging), host.Forward(pixels, merging));
  }
  const at::Tensor pixels = Wave({1, 3, 35, 35});
  ExpectClose(card.Analyze(pixels).class_attention, host.Analyze(pixels).class_attention);
}

TEST_F(CudaTest, ImagesAreProjectedAsOnTheCpu) {
  const QFormer card(*open_, card_), host(*open_, Placement{});
  const at::Tensor tokens = Wave({1, 17, checkpoint_.config().vision.hidden_size});
  ExpectClose(card.Project(card.Forward(tokens)), host.Project(host.Forward(tokens)));
  const at::Tensor more = Wave({7, 17, checkpoint_.config().vision.hidden_size});
  ExpectClose(card.Project(card.Forward(more)), host.Project(host.Forward(more)));
}

// Prompts, the rest of one, and decode steps of several lengths in one pass.
std::vector<at::Tensor> RunPasses(const OptDecoder& decoder, const Config& config) {
  const int64_t width = config.text.word_embed_proj_dim;
  const std::vector<int32_t> first = {0, 1, 2}, second = {3, 4, 5}, copied = {6, 4, 5};
  KvPool pool = decoder.MakeKvPool(8, kPoolBlockTokens);
  const auto row = [&](int64_t tokens, int64_t past, const std::vector<int32_t>& blocks) {
    const at::Tensor embeddings =
        Upload(Wave({tokens + past, width}).narrow(0, past, tokens).contiguous(), decoder.placement().device);
    return DecoderRow{.embeddings = embeddings, .past = past, .blocks = blocks, .wants_logits = true};
  };
  std::vector<at::Tensor> logits;
  const auto pass = [&](const std::vector<DecoderRow>& rows) { logits.push_back(decoder.Forward(rows, pool)); };
  pass({row(6, 0, first), row(3, 0, second)});
  pass({row(3, 6, first), row(1, 3, second)});
  const std::vector<int32_t> from = {3}, to = {6};
  decoder.CopyKvBlocks(pool, from, to);
  pass({row(1, 9, first), row(1, 4, second)});
  pass({row(1, 4, copied)});
  return logits;
}

TEST_F(CudaTest, TokensAreScoredAsOnTheCpu) {
  const std::vector<at::Tensor> card = RunPasses(OptDecoder(*open_, card_), checkpoint_.config());
  const std::vector<at::Tensor> host = RunPasses(OptDecoder(*open_, Placement{}), checkpoint_.config());
  for (size_t i = 0; i < host.size(); ++i) ExpectClose(card[i], host[i]);
}

TEST_F(CudaTest, DecodeStepsReadKeysAndValuesWhereTheyLie) {
  EXPECT_TRUE(OptDecoder(*open_, card_).reads_in_place().ok()) << OptDecoder(*open_, card_).reads_in_place();
}

// Decode steps of 1 to 20 sequences, some sizes for the first time and some again.
std::vector<at::Tensor> RunSteps(const OptDecoder& decoder, KvPool& pool) {
  const int64_t width = decoder.config().word_embed_proj_dim;
  std::vector<at::Tensor> logits;
  int64_t past = 0;
  for (const int count : {1, 3, 4, 20, 17, 3, 1, 20}) {
    std::vector<std::vector<int32_t>> tables(count);
    std::vector<DecoderRow> rows;
    for (int32_t i = 0; i < count; ++i) {
      tables[i] = {3 * i + 1, 3 * i, 3 * i + 2};
      const at::Tensor embedding = Wave({1, width}).add_(0.01 * static_cast<double>(i + 7 * past));
      rows.push_back({.embeddings = Upload(embedding, decoder.placement().device),
                      .past = past,
                      .blocks = tables[i],
                      .wants_logits = true});
    }
    logits.push_back(Download(decoder.Forward(rows, pool)));
    ++past;
  }
  return logits;
}

KvPool Zeros(const OptDecoder& decoder) {
  const c10::InferenceMode inference;
  KvPool pool = decoder.MakeKvPool(60, kPoolBlockTokens);
  pool.all.zero_();
  return pool;
}

TEST_F(CudaTest, RecordedStepsScoreAsOthersDo) {
  const OptDecoder decoder(*open_, card_);
  KvPool plain = Zeros(decoder), recorded = Zeros(decoder);
  auto recorder = MakeCudaRecorder(card_.device);
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  std::vector<std::string> failures;
  const absl::Status status = decoder.RecordSteps(
      *std::move(recorder), [&](const std::string& why) { failures.push_back(why); }, recorded);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<at::Tensor> expected = RunSteps(decoder, plain), scores = RunSteps(decoder, recorded);
  for (size_t i = 0; i < expected.size(); ++i) ExpectClose(scores[i], expected[i]);
  EXPECT_EQ(failures, std::vector<std::string>());
}

TEST_F(CudaTest, RecordedPassesSeeAsOthersDo) {
  const VisionModel model(*open_, card_);
  auto recorder = MakeCudaRecorder(card_.device);
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  VisionGraphs graphs(
      *std::move(recorder), [](const std::string& why) { ADD_FAILURE() << why; }, model);
  const int64_t size = model.config().image_size;
  std::vector<at::Tensor> seen, expected;
  for (const int64_t images : {1, 3, 4, 1, 32, 5}) {
    const at::Tensor pixels = Wave({images, 3, size, size}).add_(0.01 * static_cast<double>(seen.size()));
    seen.push_back(graphs.Forward(pixels));
    expected.push_back(Download(model.Forward(pixels)));
  }
  for (size_t i = 0; i < seen.size(); ++i) ExpectClose(seen[i], expected[i]);
}

// What cannot be recorded, here a copy to the host, leaves the card as it was.
TEST_F(CudaTest, AfterARecordingThatFailsTheCardGoesOn) {
  auto recorder = MakeCudaRecorder(card_.device);
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  const at::Tensor numbers = Upload(Wave({100}), card_.device);
  at::Tensor seen;
  EXPECT_THROW((*recorder)([&] { seen = Download(numbers * 2); }), std::exception);
  EXPECT_TRUE(Download(numbers + 1).equal(Wave({100}) + 1));
  auto another = MakeCudaRecorder(card_.device);  // its memory is apart from what the first one left
  ASSERT_TRUE(another.ok()) << another.status();
  const std::function<void()> again = (*another)([&] { seen = numbers * 3; });
  again();
  EXPECT_TRUE(Download(seen).equal(Wave({100}) * 3));
}

// While the card computes on.
TEST_F(CudaTest, RowsComeWhileTheCardComputesOn) {
  const at::Tensor numbers = Wave({5, 300, 1000});
  std::vector<RowDownload> downloads;
  for (int pass = 0; pass < 6; ++pass) {
    downloads.emplace_back(Upload(numbers, card_.device) * pass);
    Upload(numbers, card_.device).mul_(1000);
  }
  for (int pass = 0; pass < 6; ++pass) {
    downloads[pass].AwaitComputed();
    for (const int64_t row : {4, 0, 1, 2, 3}) {
      const at::Tensor seen = downloads[pass].Take(row);
      EXPECT_TRUE(seen.equal(numbers[row] * pass));
      EXPECT_FALSE(seen.is_pinned());
    }
  }
}

// Each is used while others are on their way, and some are given up before they arrive.
TEST_F(CudaTest, NumbersArriveBesideWhatTheCardComputes) {
  const SideUploads uploads(card_.device);
  const at::Tensor numbers = Wave({300, 1000}).mul_(8).round_();  // sums are exact
  at::Tensor busy = Upload(at::rand({2000, 2000}), card_.device), sum = busy.new_zeros(numbers.sizes());
  for (int round = 0; round < 20; ++round) {
    const SideUpload upload = uploads.Send(Pin(numbers * round, card_.device));
    (void)uploads.Send(numbers * 1000);
    busy = at::mm(busy, busy).mul_(1e-3);
    sum += upload.Take() * 2;
  }
  EXPECT_TRUE(Download(sum).equal(numbers * 380));
}

// Every type and width of head, on rows longer than what a block of threads takes at once.
TEST_F(CudaTest, TheKernelAttendsAsTheCpu) {
  const std::vector<int32_t> first = {3, 0, 5, 2}, second = {1}, third = {6, 4, 7};
  const std::vector<PagedRow> rows = {{.past = 199, .tokens = 1, .blocks = first},
                                      {.past = 0, .tokens = 1, .blocks = second},
                                      {.past = 128, .tokens = 1, .blocks = third}};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {80, 64, 32, 128, 7}) {
      const auto kernel = MakePagedDecodeAttention(card_.device, type, width);
      ASSERT_TRUE(kernel.ok()) << kernel.status();
      const auto run = [&](c10::Device device, const AttendPaged& attend) {
        const auto there = [&](const at::Tensor& x) { return Upload(x.to(type), device).clone(); };
        const at::Tensor query = there(Wave({3, 4, width})), key = there(Wave({3, 4, width}).add_(0.1));
        const at::Tensor keys = there(Wave({8, 4, 50, width})), values = there(Wave({8, 4, 50, width}).neg_());
        return Download(PagedAttention(rows, {}, 50, device, attend)(query, key, key, keys, values)).to(at::kDouble);
      };
      const double off = (run(card_.device, *kernel) - run(c10::kCPU, nullptr)).abs().max().item<double>();
      EXPECT_LT(off, type == at::kFloat ? kTolerance : 1e-2) << type << " of width " << width;
    }
  }
}

// rows [N, in] as 8-bit floats, by the host's operators.
struct Float8Rows {
  explicit Float8Rows(const at::Tensor& rows) {
    RoundToFloat8ByOperators(rows, bytes.resize_(rows.sizes()).view(at::kFloat8_e4m3fn),
                             scales.resize_({rows.size(0), 1}));
  }
  at::Tensor AsDoubles() const { return bytes.view(at::kFloat8_e4m3fn).to(at::kDouble) * scales.to(at::kDouble); }

  at::Tensor bytes = at::empty({0}, at::kByte), scales = at::empty({0});
};

// Rows that were rounded on the card have the bits of the host's; products are near double precision on these.
TEST_F(CudaTest, FloatsOf8BitsAreRoundedAsOnTheCpuAndMultipliedAsTheFormulaSays) {
  const auto placement = ParsePlacement("cuda", "fp8");
  if (!placement.ok()) GTEST_SKIP() << placement.status().message();
  const auto kernel = MakeFloat8Rows(card_.device);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  const auto there = [&](const at::Tensor& host) { return Upload(host, card_.device).clone(); };
  const at::Tensor weight = Wave({512, 1408}).to(at::kBFloat16), bias = Wave({512}).to(at::kBFloat16);
  for (const int64_t rows : {1, 3, 16, 300}) {
    const at::Tensor x = (Wave({rows, 1408}) * at::logspace(-8, 8, rows).unsqueeze(1)).to(at::kBFloat16);
    const Float8Rows rounded(x);
    const at::Tensor bytes = there(at::zeros(x.sizes(), at::kByte)), scales = there(at::zeros({rows, 1}));
    (*kernel)(there(x), bytes.view(at::kFloat8_e4m3fn), scales);
    EXPECT_TRUE(Download(bytes).equal(rounded.bytes)) << rows;
    EXPECT_TRUE(Download(scales).equal(rounded.scales)) << rows;
    const at::Tensor product = at::matmul(rounded.AsDoubles(), Float8Rows(weight).AsDoubles().t());
    for (const bool with_bias : {true, false}) {
      const auto added = with_bias ? std::optional(there(bias)) : std::nullopt;
      const at::Tensor expected = with_bias ? product + bias.to(at::kDouble) : product;
      const at::Tensor y = Download(Float8Matrix(there(weight), added, *kernel)(there(x))).to(at::kDouble);
      EXPECT_TRUE(((y - expected).norm(2, 1) <= 8e-3 * expected.norm(2, 1)).all().item<bool>()) << rows;
    }
  }
}

TEST_F(CudaTest, ImagesInFloatsOf8BitsAreNearThoseInBFloat16) {
  const auto placement = ParsePlacement("cuda", "fp8");
  if (!placement.ok()) GTEST_SKIP() << placement.status().message();
  Config config = TinyConfig();
  config.vision.hidden_size = 48;
  config.vision.intermediate_size = 64;
  const RandomCheckpoint checkpoint(config, /*seed=*/12);
  const auto open = checkpoint.Open();
  const VisionModel card(*open, *placement), host(*open, Placement{.dtype = at::kBFloat16});
  const at::Tensor pixels = Wave({3, 3, 20, 20}), expected = host.Forward(pixels).to(at::kDouble);
  EXPECT_LT((Download(card.Forward(pixels)).to(at::kDouble) - expected).norm().item<double>(),
            0.1 * expected.norm().item<double>());
}

// By the card's operators; int4's has a layout of its own.
TEST_F(CudaTest, WeightsOf8And4BitsAreMultipliedAsTheFormulaSays) {
  for (const auto& [word, type] : {std::pair{"int8", IntegerType::kInt8}, {"int4", IntegerType::kInt4}}) {
    const auto placement = ParsePlacement("cuda", word);
    if (!placement.ok()) GTEST_SKIP() << placement.status().message();
    for (const auto& [out, in] : {std::pair<int64_t, int64_t>{512, 1408}, {48, 64}, {272, 2560}}) {
      const IntegerMatrix rounded(type, Wave({out, in}), std::nullopt, Wave({in}).abs().add_(0.1));
      const at::Tensor weight = Dequantized(type, rounded.parts(), out).to(at::kDouble);
      const at::Tensor bias = Wave({out}).to(at::kBFloat16);
      const WeightOnlyMatrix matrix(rounded, Upload(bias, card_.device).clone(), card_.device);
      for (const int64_t rows : {1, 3, 16, 17, 300}) {
        const at::Tensor x = (Wave({rows, in}) * at::logspace(-2, 2, rows).unsqueeze(1)).to(at::kBFloat16);
        const at::Tensor expected = at::matmul(x.to(at::kDouble), weight.t()) + bias.to(at::kDouble);
        const at::Tensor y = Download(matrix(Upload(x, card_.device).clone())).to(at::kDouble);
        EXPECT_TRUE(((y - expected).norm(2, 1) <= 1.2e-2 * expected.norm(2, 1)).all().item<bool>())
            << word << ", " << rows << " rows, " << in << " to " << out;
      }
    }
  }
}

TEST_F(CudaTest, TheDecoderInWeightsOf8And4BitsIsNearItsTwinOnTheCpu) {
  Config config = TinyConfig();
  config.text.hidden_size = config.text.word_embed_proj_dim = 64;
  config.text.ffn_dim = 128;
  const RandomCheckpoint checkpoint(config, /*seed=*/12);
  for (const char* word : {"int8", "int4"}) {
    const auto placement = ParsePlacement("cuda", word);
    if (!placement.ok()) GTEST_SKIP() << placement.status().message();
    const auto logits = [&](const Placement& placed) {
      const OptDecoder decoder(*checkpoint.Open(), placed);
      const std::vector<int32_t> blocks = {0, 1};
      KvPool pool = decoder.MakeKvPool(2, 8);
      const at::Tensor embeddings = decoder.Embed(std::vector<int64_t>{2, 9, 4})[0];
      const std::vector<DecoderRow> rows = {
          {.embeddings = embeddings, .past = 0, .blocks = blocks, .wants_logits = true}};
      return Download(decoder.Forward(rows, pool)).to(at::kDouble);
    };
    Placement twin = *placement;
    twin.device = c10::Device(c10::kCPU);
    const at::Tensor expected = logits(twin);
    EXPECT_LT((logits(*placement) - expected).norm().item<double>(), 0.05 * expected.norm().item<double>()) << word;
  }
}

TEST_F(CudaTest, TokensAreChosenAsOnTheCpu) {
  const std::vector<int64_t> context = {1, 4, 4, 9};
  const std::vector<GenerationOptions> options = {{.logprobs = 3},
                                                  {.temperature = 1, .top_k = 0, .top_p = 0.8},
                                                  {.temperature = 0.7, .repetition_penalty = 1.4, .logprobs = 20},
                                                  {.temperature = 2, .presence_penalty = 1, .min_p = 0.02}};
  const at::Tensor logits = Wave({200, 3000}).mul_(5).to(at::kBFloat16).to(at::kFloat);
  const auto choose = [&](const at::Tensor& where) {
    std::vector<RowChoice> rows;
    for (int64_t row = 0; row < where.size(0); ++row) {
      const GenerationOptions& own = options[row % 4];
      rows.push_back({.logits = where.narrow(0, row, 1),
                      .options = &own,
                      .edits = ScoreEdits(own, {}, context, 2, where.size(1)),
                      .draw = static_cast<double>(row) / 200});
    }
    return ChooseTokens(rows);
  };
  const auto card = choose(Upload(logits, card_.device)), host = choose(logits);
  for (size_t i = 0; i < host.size(); ++i) {
    EXPECT_EQ(card[i]->id, host[i]->id) << "row " << i;
    EXPECT_NEAR(card[i]->logprob, host[i]->logprob, kTolerance);
    ASSERT_EQ(card[i]->top.size(), host[i]->top.size());
    for (size_t rank = 0; rank < host[i]->top.size(); ++rank) EXPECT_EQ(card[i]->top[rank].id, host[i]->top[rank].id);
  }
}

}  // namespace
}  // namespace diptych::blip2
