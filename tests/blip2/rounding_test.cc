// Checkpoints whose weights are rounded already.
#include "blip2/rounding.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/checkpoint/memory_plan.h"
#include "blip2/opt.h"
#include "blip2/vision_model.h"
#include "tests/blip2/tensors.h"
#include "tests/testing/paths.h"
#include "tests/testing/planted_checkpoint.h"
#include "tests/testing/random_checkpoint.h"
#include "tests/testing/whole_model.h"

namespace diptych::blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class RoundingTest : public ::testing::TestWithParam<IntegerType> {
 protected:
  RoundingTest() {
    std::string name = (fs::temp_directory_path() / "diptych-XXXXXX").string();
    temporary_ = mkdtemp(name.data());
  }
  ~RoundingTest() override { fs::remove_all(temporary_); }

  IntegerType Type() const { return GetParam(); }
  fs::path Rounded() const { return temporary_ / "rounded"; }
  void ChangeConfig(const std::string& field, const json& value) const {
    std::ifstream in(Rounded() / "config.json");
    json config = json::parse(in);
    config["quantization_config"][field] = value;
    std::ofstream(Rounded() / "config.json") << config;
  }
  std::string ErrorOfRounded() const { return std::string(Checkpoint::Open(Rounded()).status().message()); }

  fs::path temporary_;
};

at::Tensor Pixels(const Config& config) {
  const int64_t side = config.vision.image_size;
  return at::sin(at::arange(3 * side * side, at::kFloat)).view({1, 3, side, side});
}

at::Tensor Logits(const OptDecoder& decoder) {
  KvPool pool = decoder.MakeKvPool(/*blocks=*/1, /*block_tokens=*/16);
  const std::vector<int32_t> blocks = {0};
  const at::Tensor embeddings = decoder.Embed(std::vector<int64_t>{2, 9, 4})[0];
  const DecoderRow row{.embeddings = embeddings, .past = 0, .blocks = blocks, .wants_logits = true};
  return decoder.Forward({&row, 1}, pool);
}

TEST_P(RoundingTest, GivesTheBitsOfRoundingAtTheStart) {
  for (const bool tied : {true, false}) {
    Config config = testing::TinyConfig();
    config.text.tie_word_embeddings = tied;
    const testing::RandomCheckpoint original(config, /*seed=*/5);
    const fs::path folder = temporary_ / (tied ? "tied" : "untied");
    ASSERT_TRUE(WriteRounded(original.folder(), folder, Type()).ok());
    auto stored = Checkpoint::Open(folder);
    ASSERT_TRUE(stored.ok()) << stored.status();
    const auto opened = original.Open();
    EXPECT_EQ((*stored)->VisionFingerprint(), opened->VisionFingerprint());
    const Placement placement = {.integers = Type()};
    const VisionModel vision(**stored, placement);
    const OptDecoder decoder(**stored, placement);
    EXPECT_EQ(vision.size().parameters, VisionModel(*opened, placement).size().parameters);
    EXPECT_EQ(decoder.size().bytes, OptDecoder(*opened, placement).size().bytes);
    stored->reset();  // the mapping outlives the checkpoint
    EXPECT_TRUE(vision.Forward(Pixels(config)).equal(VisionModel(*opened, placement).Forward(Pixels(config))));
    EXPECT_TRUE(Logits(decoder).equal(Logits(OptDecoder(*opened, placement))));
  }
}

// What a card makes of the folder: the decoder's numbers as they are, the vision transformer's widened.
TEST_P(RoundingTest, ACardComputesWithItsNumbers) {
  for (const bool tied : {true, false}) {
    Config config = testing::TinyConfig();
    config.text.hidden_size = config.text.word_embed_proj_dim = 64;
    config.text.tie_word_embeddings = tied;
    const testing::RandomCheckpoint original(config, /*seed=*/5);
    const fs::path folder = temporary_ / (tied ? "tied on a card" : "untied on a card");
    ASSERT_TRUE(WriteRounded(original.folder(), folder, Type()).ok());
    const auto stored = Checkpoint::Open(folder);
    ASSERT_TRUE(stored.ok()) << stored.status();
    const Placement card = {.dtype = at::kBFloat16, .integers = Type()};
    const Placement cpu = {.integers = Type()};
    const OptDecoder decoder(**stored, card), from_original(*original.Open(), card);
    EXPECT_EQ(decoder.size().bytes, from_original.size().bytes);
    EXPECT_EQ(decoder.size().parameters, from_original.size().parameters);
    EXPECT_LT(RelativeDifference(Logits(decoder), Logits(OptDecoder(**stored, cpu))), 0.03);
    const VisionModel vision(**stored, card), vision_on_cpu(**stored, cpu);
    EXPECT_EQ(vision.size().parameters, vision_on_cpu.size().parameters);
    EXPECT_LT(RelativeDifference(vision.Forward(Pixels(config)), vision_on_cpu.Forward(Pixels(config))), 0.03);
  }
}

TEST_P(RoundingTest, IsServedInItsOwnTypeAlone) {
  const testing::RandomCheckpoint original(testing::TinyConfig(), /*seed=*/5);
  ASSERT_TRUE(WriteRounded(original.folder(), Rounded(), Type()).ok());
  const Config config = (*Checkpoint::Open(Rounded()))->config();
  const std::string own = Type() == IntegerType::kInt8 ? "int8" : "int4";
  EXPECT_EQ(DTypeName(ChoosePlacement("cpu", "auto", config)->placement), own);
  EXPECT_EQ(DTypeName(ChoosePlacement("cpu", own, config)->placement), own);
  EXPECT_THAT(std::string(ChoosePlacement("cpu", "bfloat16", config).status().message()), HasSubstr("--dtype " + own));
}

TEST_P(RoundingTest, WritesNothingOverWhatExists) {
  const testing::RandomCheckpoint original(testing::TinyConfig(), /*seed=*/5);
  fs::create_directory(Rounded());
  EXPECT_EQ(WriteRounded(original.folder(), Rounded(), Type()).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::is_empty(Rounded()));
  EXPECT_EQ(WriteRounded(temporary_ / "absent", temporary_ / "new", Type()).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(fs::exists(temporary_ / "new"));
}

TEST_P(RoundingTest, LeavesWhatLiesBesideIt) {
  const testing::RandomCheckpoint original(testing::TinyConfig(), /*seed=*/5);
  const fs::path other = Rounded().string() + ".unfinished";
  fs::create_directory(other);
  std::ofstream(other / "notes.txt") << "of somebody else";
  EXPECT_TRUE(WriteRounded(original.folder(), Rounded(), Type()).ok());
  EXPECT_TRUE(fs::exists(other / "notes.txt"));
  EXPECT_EQ(std::distance(fs::directory_iterator(temporary_), {}), 2) << "and nothing of its own";
}

TEST_P(RoundingTest, IsNotRoundedTwice) {
  const testing::RandomCheckpoint original(testing::TinyConfig(), /*seed=*/5);
  ASSERT_TRUE(WriteRounded(original.folder(), Rounded(), Type()).ok());
  EXPECT_EQ(WriteRounded(Rounded(), temporary_ / "again", Type()).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(RoundingTest, WhatIsWrittenIsCheckedWhenItIsOpened) {
  const testing::RandomCheckpoint original(testing::TinyConfig(), /*seed=*/5);
  ASSERT_TRUE(WriteRounded(original.folder(), Rounded(), Type()).ok());
  ChangeConfig("bits", Type() == IntegerType::kInt8 ? 4 : 8);  // the tensors are of the other type
  EXPECT_NE(ErrorOfRounded(), "");
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{
           {"bits", 6}, {"layout", 2}, {"quant_method", "gptq"}, {"vision_fingerprint", "abc"}}) {
    const json before = json::parse(std::ifstream(Rounded() / "config.json"))["quantization_config"][field];
    ChangeConfig(field, value);
    EXPECT_THAT(ErrorOfRounded(), HasSubstr("quantization_config." + field));
    ChangeConfig(field, before);
  }
}

TEST(RoundedDemoTest, AnswersAsTheOriginalInInt8) {
  const fs::path demo = testing::RepositoryPath("models/demo");
  std::string name = (fs::temp_directory_path() / "diptych-XXXXXX").string();
  const fs::path folder = fs::path(mkdtemp(name.data())) / "demo-int8";
  ASSERT_TRUE(WriteRounded(demo, folder, IntegerType::kInt8).ok());
  const Placement placement = {.integers = IntegerType::kInt8};
  const auto rounded = testing::WholeModel::Load(folder, placement),
             original = testing::WholeModel::Load(demo, placement);
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  std::ifstream image(demo / "samples/red_circle_blue_star.png", std::ios::binary);
  const testing::Question question = {.image = {std::istreambuf_iterator<char>(image), {}},
                                      .text = "Question: What color is the circle? Answer:",
                                      .options = {.max_new_tokens = 10}};
  EXPECT_EQ((*rounded)->Ask(question)->text, (*original)->Ask(question)->text);
  fs::remove_all(folder.parent_path());
}

INSTANTIATE_TEST_SUITE_P(Types, RoundingTest, ::testing::Values(IntegerType::kInt8, IntegerType::kInt4),
                         [](const auto& info) { return info.param == IntegerType::kInt8 ? "Int8" : "Int4"; });

}  // namespace
}  // namespace diptych::blip2
