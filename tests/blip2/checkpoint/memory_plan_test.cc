#include "blip2/checkpoint/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/opt.h"
#include "blip2/qformer.h"
#include "blip2/vision_model.h"
#include "tests/testing/paths.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kGibibyte = int64_t{1} << 30;

// blip2-opt-2.7b.
Config FullSize() {
  Config config;
  config.text.vocab_size = 50304;
  config.text.hidden_size = config.text.word_embed_proj_dim = 2560;
  config.text.ffn_dim = 10240;
  config.text.num_hidden_layers = config.text.num_attention_heads = 32;
  return config;
}

MemoryDemand Language(const std::string& dtype) {
  const auto cache = [](const Placement& placement) { return 2048 * KvTokenBytes(FullSize().text, placement); };
  return {.part = ModelPart::kLanguage,
          .placement = *ParsePlacement("cpu", dtype),
          .kv_cache = [=](const Placement& placement) { return 4 * cache(placement); },
          .least_kv_cache = cache};
}

// As ParsePlacement gives it; also what that gives to cards alone.
Placement PlacementOf(const std::string& word) {
  constexpr auto kBFloat16 = c10::ScalarType::BFloat16;
  if (word == "fp8") return {.dtype = kBFloat16, .float8 = true};
  if (word == "int8OnACard") return {.dtype = kBFloat16, .integers = IntegerType::kInt8};
  if (word == "int4OnACard") return {.dtype = kBFloat16, .integers = IntegerType::kInt4};
  return *ParsePlacement("cpu", word);
}

class MemoryPlanTest : public ::testing::TestWithParam<const char*> {};

TEST_P(MemoryPlanTest, SaysWhatTheModelTakesBeforeItIsRead) {
  const Placement placement = PlacementOf(GetParam());
  const testing::RandomCheckpoint random(testing::TinyConfig(), /*seed=*/3);
  const auto tiny = random.Open();
  const auto demo = Checkpoint::Open(testing::RepositoryPath("models/demo"));
  for (const Checkpoint* checkpoint : {tiny.get(), demo->get()}) {
    const Config& config = checkpoint->config();
    const QFormer qformer(*checkpoint, placement);
    const int64_t language = qformer.qformer_size().bytes + qformer.projection_size().bytes +
                             OptDecoder(*checkpoint, placement).size().bytes;
    const int64_t vision = VisionModel(*checkpoint, placement).size().bytes;
    EXPECT_NEAR(WeightBytes(config, ModelPart::kLanguage, placement), language, 0.02 * language + (64 << 10));
    EXPECT_NEAR(WeightBytes(config, ModelPart::kVision, placement), vision, 0.02 * vision + (64 << 10));
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, MemoryPlanTest,
                         ::testing::Values("float32", "bfloat16", "float16", "int8", "int4", "fp8", "int8OnACard",
                                           "int4OnACard"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ComputesInOneThreadTest, WhatIsSmallAndOnACpu) {
  const Config demo = (*Checkpoint::Open(testing::RepositoryPath("models/demo")))->config();
  for (const ModelPart part : {ModelPart::kVision, ModelPart::kLanguage}) {
    EXPECT_TRUE(ComputesInOneThread(demo, part, *ParsePlacement("cpu", "float32")));
    EXPECT_FALSE(ComputesInOneThread(demo, part, {.device = c10::Device("cuda:0")}));
    EXPECT_FALSE(ComputesInOneThread(FullSize(), part, *ParsePlacement("cpu", "int4")));
  }
}

TEST(ChoosePlacementTest, LeavesASmallModelInFloat32) {
  const auto chosen =
      ChoosePlacement("cpu", "auto", (*Checkpoint::Open(testing::RepositoryPath("models/demo")))->config());
  EXPECT_EQ(DTypeName(chosen->placement), "float32");
  EXPECT_THAT(chosen->reason, HasSubstr("little"));
}

TEST(ChoosePlacementTest, TakesInt8ForALargeModelOnTheCpu) {
  const auto chosen = ChoosePlacement("cpu", "auto", FullSize());
  EXPECT_EQ(DTypeName(chosen->placement), "int8");
  EXPECT_THAT(chosen->reason, HasSubstr("14.0 GiB"));
}

TEST(ChoosePlacementTest, TakesWhatItIsTold) {
  const auto chosen = ChoosePlacement("cpu", "float32", FullSize());
  EXPECT_EQ(DTypeName(chosen->placement), "float32");
  EXPECT_EQ(chosen->reason, "");
  EXPECT_FALSE(ChoosePlacement("cpu", "int3", FullSize()).ok());
}

TEST(CheckFitsTest, AcceptsWhatFits) {
  EXPECT_TRUE(CheckFits(FullSize(), Language("float32"), 64 * kGibibyte).ok());
  EXPECT_TRUE(
      CheckFits(FullSize(), {.part = ModelPart::kVision, .placement = *ParsePlacement("cpu", "int4")}, kGibibyte).ok());
}

TEST(CheckFitsTest, NamesTheWidestDTypeThatFits) {
  const absl::Status status = CheckFits(FullSize(), Language("float32"), 12 * kGibibyte);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("float32 needs"), HasSubstr("12.0 GiB are free"),
                                                   HasSubstr("--dtype bfloat16 needs"), Not(HasSubstr("\n"))));
  EXPECT_THAT(std::string(CheckFits(FullSize(), Language("float32"), 7 * kGibibyte).message()),
              HasSubstr("--dtype int8 needs"));
}

TEST(CheckFitsTest, NamesASmallerCacheWhereNoDTypeFitsAlone) {
  const std::string message(CheckFits(FullSize(), Language("int4"), 5 * kGibibyte / 2 + kGibibyte / 2).message());
  EXPECT_THAT(message, HasSubstr("--kv_cache_bytes="));
}

TEST(CheckFitsTest, SaysTheLeastWhereNothingFits) {
  EXPECT_THAT(std::string(CheckFits(FullSize(), Language("int4"), kGibibyte).message()),
              AllOf(HasSubstr("1.0 GiB are free"), HasSubstr("the least, needs")));
}

}  // namespace
}  // namespace diptych::blip2
