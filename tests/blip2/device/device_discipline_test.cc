// What the model's functions may do on a device, shown without one: on "meta" tensors, which have no numbers.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <optional>
#include <utility>
#include <vector>

#include "blip2/decoding/batch_choice.h"
#include "blip2/decoding/beam_search.h"
#include "blip2/device/transfer.h"
#include "blip2/matrices/integer_matrix.h"
#include "blip2/matrices/weight_only_matrix.h"
#include "blip2/opt.h"
#include "blip2/paged_attention.h"
#include "blip2/qformer.h"
#include "blip2/vision_model.h"
#include "tests/testing/device_observer.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::DeviceObserver;
using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Gives an operator's result the shape that it has on the host: some have no kernel for meta tensors outside Python.
at::Tensor Replace(const at::Tensor& meta, std::vector<std::pair<at::Tensor, at::Tensor>>& replaced) {
  if (!meta.defined() || !meta.is_meta()) return meta;
  const at::Tensor host = at::zeros(meta.sizes(), meta.options().device(at::kCPU));
  replaced.emplace_back(host, meta);
  return host;
}

at::Tensor Restore(const at::Tensor& host, const std::vector<std::pair<at::Tensor, at::Tensor>>& replaced) {
  for (const auto& [stand_in, meta] : replaced) {
    if (host.is_same(stand_in)) return meta.sizes() == host.sizes() ? meta : meta.resize_(host.sizes());
  }
  return at::empty(host.sizes(), host.options().device(at::kMeta));
}

void RunForShape(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::vector<std::pair<at::Tensor, at::Tensor>> replaced;
  const size_t first = stack->size() - op.schema().arguments().size();
  for (size_t i = first; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) value = Replace(value.toTensor(), replaced);
    if (!value.isOptionalTensorList()) continue;
    c10::List<std::optional<at::Tensor>> tensors;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      tensors.push_back(tensor ? std::optional(Replace(*tensor, replaced)) : std::nullopt);
    }
    value = tensors;
  }
  op.callBoxed(stack);
  for (size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    (*stack)[i] = Restore((*stack)[i].toTensor(), replaced);
  }
}

// By hand: libtorch 2.11's product on the host knows no scales of rows.
at::Tensor ScaledProduct(const at::Tensor& a, const at::Tensor& b, const at::Tensor& /*scale_a*/,
                         const at::Tensor& /*scale_b*/, const std::optional<at::Tensor>& /*bias*/,
                         const std::optional<at::Tensor>& /*scale_result*/, std::optional<at::ScalarType> dtype,
                         bool /*use_fast_accum*/) {
  return at::empty({a.size(0), b.size(1)}, a.options().dtype(dtype));
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("_scaled_mm", &ScaledProduct);
  for (const char* name : {"_index_put_impl_", "abs.out", "_weight_int4pack_mm_for_cpu", "_weight_int8pack_mm", "flip",
                           "index_select", "isfinite", "logical_and", "logical_not", "logical_not.out", "logical_or",
                           "masked_fill.Scalar", "native_batch_norm", "roll", "where.self", "where.self_out"}) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&RunForShape>());
  }
}

const Placement kDevice = {.device = c10::Device(c10::DeviceType::Meta), .dtype = c10::ScalarType::Half};
constexpr int64_t kBlockTokens = 4;

// `uploads` copies to the device, each through the one seam; none back, no wait, no operator between the two.
void ExpectOnly(const DeviceObserver& seen, const TransferCounts& before, int uploads) {
  EXPECT_EQ(seen.uploads(), uploads);
  EXPECT_EQ(Transfers().uploads - before.uploads, uploads) << "a copy past blip2::Upload";
  EXPECT_EQ(seen.downloads(), 0);
  EXPECT_THAT(seen.mixed(), IsEmpty());
  EXPECT_THAT(seen.waits(), IsEmpty());
}

at::Tensor OnDevice(std::vector<int64_t> shape) {
  return at::empty(shape, at::TensorOptions(kDevice.device).dtype(kDevice.dtype));
}

TEST(DeviceObserverTest, SeesCopiesMixturesAndWaits) {
  const at::Tensor device = OnDevice({4, 3}), host = at::zeros({2}, at::kLong);
  DeviceObserver seen;
  at::embedding(device, host);
  (void)host.to(kDevice.device);
  EXPECT_THROW((void)device.cpu(), c10::Error) << "meta tensors have nothing to give";
  EXPECT_THROW((void)device[0][0].item<float>(), c10::Error);
  EXPECT_EQ(seen.uploads(), 1);
  EXPECT_THAT(seen.mixed(), ::testing::Contains("aten::embedding"));
  EXPECT_THAT(seen.waits(), ::testing::Contains("aten::item"));
}

class DeviceDisciplineTest : public ::testing::Test {
 protected:
  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/11};
  const std::unique_ptr<Checkpoint> open_ = checkpoint_.Open();
};

class VisionDisciplineTest : public DeviceDisciplineTest {
 protected:
  const VisionModel model_{*open_, kDevice};
  const int64_t size_ = checkpoint_.config().vision.image_size;
};

TEST_F(VisionDisciplineTest, ABatchOfImagesIsUploadedAtOnce) {
  for (const int64_t images : {1, 5}) {
    const at::Tensor pixels = at::zeros({images, 3, size_, size_});
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    const at::Tensor tokens = model_.Forward(pixels);
    ExpectOnly(seen, before, 1);
    EXPECT_TRUE(tokens.is_meta());
    EXPECT_EQ(tokens.scalar_type(), kDevice.dtype);
    EXPECT_EQ(Transfers().bytes - before.bytes, static_cast<int64_t>(pixels.nbytes())) << "converted on the host";
  }
}

TEST_F(VisionDisciplineTest, PixelsThatWereSentBeforeAreNotSentInThePass) {
  const SideUploads uploads(kDevice.device);
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  std::vector<at::Tensor> pixels;
  for (int image = 0; image < 3; ++image) pixels.push_back(uploads.Send(at::zeros({1, 3, size_, size_})).Take());
  ExpectOnly(seen, before, 3);
  EXPECT_TRUE(model_.Forward(at::cat(pixels)).is_meta());
  EXPECT_TRUE(model_.Analyze(pixels[0]).tokens.is_meta());
  ExpectOnly(seen, before, 3);
}

TEST_F(VisionDisciplineTest, OtherSizesMergedTokensAndAttentionMapsNeedNoMore) {
  for (const int merging : {0, 1}) {
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    model_.Forward(at::zeros({2, 3, 2 * size_, 2 * size_}), merging);
    ExpectOnly(seen, before, 1);
  }
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  EXPECT_TRUE(model_.Analyze(at::zeros({1, 3, size_, size_})).class_attention.is_meta());
  ExpectOnly(seen, before, 1);
}

TEST_F(DeviceDisciplineTest, AnImageGoesThroughTheQFormerWithOneUpload) {
  const QFormer qformer(*open_, kDevice);
  const at::Tensor tokens = at::zeros({1, 17, checkpoint_.config().vision.hidden_size}, at::kHalf);
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  EXPECT_TRUE(qformer.Project(qformer.Forward(tokens)).is_meta());
  ExpectOnly(seen, before, 1);
  EXPECT_TRUE(qformer.Analyze(tokens).cross_attention.is_meta());
  ExpectOnly(seen, before, 2);
}

class DecoderDisciplineTest : public DeviceDisciplineTest {
 protected:
  DecoderRow Row(int64_t tokens, int64_t past) const {
    return {.embeddings = OnDevice({tokens, checkpoint_.config().text.word_embed_proj_dim}),
            .past = past,
            .blocks = blocks_,
            .wants_logits = true};
  }

  // One pass, which may copy its indices to the device once, whatever it consists of.
  int ExpectOneUpload(const std::vector<DecoderRow>& rows) {
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    const at::Tensor logits = decoder_.Forward(rows, pool_);
    ExpectOnly(seen, before, 1);
    EXPECT_TRUE(logits.is_meta());
    return seen.on_device();
  }

  const OptDecoder decoder_{*open_, kDevice};
  const std::vector<int32_t> blocks_ = {0, 1, 2, 3};
  KvPool pool_ = decoder_.MakeKvPool(8, kBlockTokens);
};

TEST_F(DecoderDisciplineTest, APassUploadsItsIndicesOnce) {
  ExpectOneUpload({Row(7, 0)});                                   // a prompt
  ExpectOneUpload({Row(3, 5)});                                   // the rest of one
  ExpectOneUpload({Row(1, 5)});                                   // a decode step
  ExpectOneUpload({Row(1, 5), Row(1, 9), Row(1, 0)});             // of several, padded
  ExpectOneUpload({Row(1, 5), Row(4, 8), Row(6, 0), Row(1, 7)});  // all at once
  DecoderRow without_logits = Row(7, 0);
  without_logits.wants_logits = false;
  ExpectOneUpload({without_logits});
}

TEST_F(DecoderDisciplineTest, ADecodeStepLaunchesNoMoreForMoreSequences) {
  const int two = ExpectOneUpload({Row(1, 5), Row(1, 9)});
  EXPECT_LE(ExpectOneUpload(std::vector<DecoderRow>(16, Row(1, 5))), two);
  std::vector<DecoderRow> many(15, Row(1, 5));
  many.push_back(Row(1, 11));
  EXPECT_EQ(ExpectOneUpload(many), two);
}

// Inputs are rounded there, row by row.
TEST(Float8DisciplineTest, PassesUploadNoMoreThanOthers) {
  const Placement float8 = {.device = kDevice.device, .dtype = at::kBFloat16, .float8 = true};
  Config config = TinyConfig();
  config.vision.hidden_size = 48;
  const RandomCheckpoint checkpoint(config, /*seed=*/11);
  const VisionModel vision(*checkpoint.Open(), float8);
  const OptDecoder decoder(*checkpoint.Open(), float8);
  const std::vector<int32_t> blocks = {0, 1};
  KvPool pool = decoder.MakeKvPool(2, kBlockTokens);
  const at::Tensor embeddings = OnDevice({5, config.text.word_embed_proj_dim}).to(at::kBFloat16);
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  EXPECT_TRUE(vision.Forward(at::zeros({2, 3, config.vision.image_size, config.vision.image_size})).is_meta());
  EXPECT_EQ(seen.CountOf("aten::_scaled_mm"), 2 * config.vision.num_hidden_layers);
  ExpectOnly(seen, before, 1);
  const std::vector<DecoderRow> rows = {{.embeddings = embeddings, .past = 0, .blocks = blocks, .wants_logits = true}};
  EXPECT_TRUE(decoder.Forward(rows, pool).is_meta());
  ExpectOnly(seen, before, 2);
}

// Their inputs are multiplied there by libtorch's operators. On the matrix alone: rounding reads the norms, of which
// meta tensors have no numbers.
TEST(WeightOnlyDisciplineTest, ProductsCopyAndMixNothing) {
  for (const IntegerType type : {IntegerType::kInt8, IntegerType::kInt4}) {
    const IntegerMatrix rounded(type, at::ones({32, 128}), std::nullopt, /*magnitudes=*/{});
    const at::Tensor bias = OnDevice({32}).to(at::kBFloat16), x = OnDevice({40, 128}).to(at::kBFloat16);
    const WeightOnlyMatrix matrix(rounded, bias, kDevice.device);
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    for (const int64_t rows : {1, 40}) {
      const at::Tensor y = matrix(x.narrow(0, 0, rows));
      EXPECT_TRUE(y.is_meta());
      EXPECT_EQ(y.sizes(), (std::vector<int64_t>{rows, 32}));
    }
    ExpectOnly(seen, before, 0);
  }
}

// What a card records must copy nothing between the host and itself.
TEST_F(DecoderDisciplineTest, ARecordedStepUploadsItsIndicesBeforehand) {
  int64_t recorded = 0;
  const auto record = [&](const std::function<void()>& work) -> std::function<void()> {
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    work();
    ExpectOnly(seen, before, 0);
    ++recorded;
    return work;
  };
  ASSERT_TRUE(decoder_
                  .RecordSteps(
                      record, [](const std::string& why) { ADD_FAILURE() << why; }, pool_)
                  .ok());
  ExpectOneUpload({Row(1, 5), Row(1, 5), Row(1, 5)});
  ExpectOneUpload({Row(1, 5), Row(1, 5), Row(1, 5)});
  EXPECT_EQ(recorded, 1);
}

// With the kernel of a card, here one that does nothing.
TEST(PagedDecodeDisciplineTest, ADecodeStepSendsItsBlocksAndGathersNothing) {
  constexpr int64_t kBlocks = 64, kHeads = 2, kWidth = 8;
  const std::vector<int32_t> blocks(kBlocks, 3);
  const std::vector<PagedRow> rows = {{.past = 250, .tokens = 1, .blocks = blocks},
                                      {.past = 5, .tokens = 1, .blocks = std::span(blocks).first(2)}};
  int calls = 0;
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  const PagedAttention attention(rows, {}, kBlockTokens, kDevice.device, [&](const PagedDecode& decode) {
    ++calls;
    EXPECT_EQ(decode.tables.sizes(), (std::vector<int64_t>{2, 63}));
    EXPECT_EQ(decode.lengths.sizes(), (std::vector<int64_t>{2}));
    EXPECT_TRUE(decode.tables.is_meta() && decode.lengths.is_meta() && decode.tokens.is_meta());
  });
  const at::Tensor query = OnDevice({2, kHeads, kWidth}), pool = OnDevice({kBlocks, kHeads, kBlockTokens, kWidth});
  for (int layer = 0; layer < 2; ++layer) attention(query, query, query, pool, pool);
  ExpectOnly(seen, before, 1);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(seen.CountOf("aten::index"), 0);
  // Positions, blocks and offsets written, tokens, lengths; and the tables.
  EXPECT_EQ(Transfers().bytes - before.bytes, 8 * (5 * 2 + 2 * 63));
}

TEST_F(DecoderDisciplineTest, IdsAreLookedUpWithOneUpload) {
  const std::vector<int64_t> ids = {1, 2, 3};
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  EXPECT_TRUE(decoder_.Embed(ids).is_meta());
  ExpectOnly(seen, before, 1);
  EXPECT_EQ(Transfers().bytes - before.bytes, 3 * 8);
}

TEST_F(DecoderDisciplineTest, IdsThatOnlyTheDeviceKnowsStayThere) {
  const std::vector<int64_t> ids = {1, -1, -3};
  const at::Tensor chosen = at::empty({3}, at::TensorOptions(kDevice.device).dtype(at::kLong));
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  EXPECT_TRUE(decoder_.Embed(ids, chosen).is_meta());
  ExpectOnly(seen, before, 1);
}

TEST_F(DecoderDisciplineTest, BlocksAreCopiedTogether) {
  const std::vector<int32_t> from = {0, 1, 2}, to = {5, 6, 7};
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  decoder_.CopyKvBlocks(pool_, from, to);
  ExpectOnly(seen, before, 1);
  EXPECT_EQ(seen.CountOf("aten::index_copy_"), 1);
  EXPECT_EQ(seen.CountOf("aten::index_select"), 1);
}

TEST_F(DecoderDisciplineTest, AnAnswerIsExplainedOnTheDevice) {
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  const at::Tensor text = OnDevice({9, checkpoint_.config().text.word_embed_proj_dim});
  EXPECT_TRUE(decoder_.AttentionToPrefix(text, /*first=*/5, /*prefix=*/4).is_meta());
  ExpectOnly(seen, before, 0);
}

// `choose` may send what it needs once and take back so many numbers of eight bytes once. On meta tensors it ends
// there.
template <typename Choose>
void ExpectOneCopyEachWay(const Choose& choose, int64_t most_numbers_back) {
  const TransferCounts before = Transfers();
  const DeviceObserver seen;
  try {
    choose();
    FAIL() << "meta tensors have nothing to give";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what_without_backtrace(), HasSubstr("out of meta tensor"));
  }
  const TransferCounts after = Transfers();
  EXPECT_EQ(seen.uploads(), 1);
  EXPECT_EQ(after.uploads - before.uploads, 1) << "a copy past blip2::Upload";
  EXPECT_EQ(after.downloads - before.downloads, 1);
  EXPECT_LE(after.downloaded_bytes - before.downloaded_bytes, 8 * most_numbers_back);
  EXPECT_THAT(seen.mixed(), IsEmpty());
  EXPECT_THAT(seen.waits(), IsEmpty());
}

constexpr int64_t kVocabulary = 5000;
const std::vector<int64_t> kContext = {1, 2, 3, 3};

at::Tensor LogitsOnDevice(int64_t rows) {
  return at::empty({rows, kVocabulary}, at::TensorOptions(kDevice.device).dtype(at::kFloat));
}

TEST(ChoiceDisciplineTest, ABatchGetsItsTokensWithOneCopyEachWay) {
  const GenerationOptions greedy, sampled = {.temperature = 1, .top_p = 0.9, .min_p = 0.1},
                                  penalised = {.temperature = 0.5, .repetition_penalty = 2, .logprobs = 5};
  const at::Tensor logits = LogitsOnDevice(30);
  for (const int64_t count : {1, 3, 30}) {
    std::vector<RowChoice> rows;
    for (int64_t row = 0; row < count; ++row) {
      const GenerationOptions& options = *std::vector{&penalised, &greedy, &sampled}[row % 3];
      rows.push_back({.logits = logits.narrow(0, row, 1),
                      .options = &options,
                      .edits = ScoreEdits(options, {}, kContext, 2, kVocabulary)});
    }
    const int64_t with_logprobs = (count + 2) / 3;
    ExpectOneCopyEachWay([&] { ChooseTokens(rows); }, 3 * count + 11 * with_logprobs);
  }
}

TEST(ChoiceDisciplineTest, BeamsGetTheirTokensWithOneCopyEachWay) {
  BeamSearch search({.min_new_tokens = 2, .repetition_penalty = 2, .num_beams = 4}, {7}, kContext);
  ExpectOneCopyEachWay([&] { (void)search.Advance(LogitsOnDevice(1)); }, 2 * 2 * 4);
}

TEST(ChoiceDisciplineTest, APromptIsScoredWithOneCopyEachWay) {
  ExpectOneCopyEachWay([&] { (void)ScoreTokens(LogitsOnDevice(4), kContext, 3); }, 4 * (2 + 2 * 3));
}

}  // namespace
}  // namespace diptych::blip2
