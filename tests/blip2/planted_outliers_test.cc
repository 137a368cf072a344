// Weights of 8 and 4 bits, and products of 8-bit floats, on the demo model, with and without outlier channels: its
// answers and logits against float32's.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/paths.h"
#include "tests/testing/planted_checkpoint.h"
#include "tests/testing/whole_model.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

const std::filesystem::path kDemo = testing::RepositoryPath("models/demo");

std::string ReadBytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

constexpr size_t kEvery = 3;

// Every third question about the demo model's samples.
std::vector<testing::Question> Questions() {
  std::vector<testing::Question> questions;
  size_t seen = 0;
  for (const json& sample : json::parse(ReadBytes(kDemo / "samples.json"))) {
    const std::string image = ReadBytes(kDemo / sample["image"].get<std::string>());
    for (const json& question : sample["questions"]) {
      if (seen++ % kEvery != 0) continue;
      const std::string text = "Question: " + question["question"].get<std::string>() + " Answer:";
      questions.push_back({.image = image, .text = text, .options = {.max_new_tokens = 40}});
    }
  }
  return questions;
}

struct Answers {
  std::vector<std::string> texts;
  at::Tensor logits;  // [questions, V]
};

Answers AnswersOf(const std::filesystem::path& folder, const Placement& placement) {
  Answers answers;
  std::vector<at::Tensor> logits;
  const auto model = testing::WholeModel::Load(folder, placement);
  for (const testing::Question& question : Questions()) {
    const auto answer = (*model)->Ask(question);
    answers.texts.push_back(answer->text);
    logits.push_back(answer->taps.logits);
  }
  answers.logits = at::stack(logits);
  return answers;
}

const Answers& Expected() {
  static const Answers kExpected = AnswersOf(kDemo, {});
  return kExpected;
}

int Differing(const Answers& answers) {
  int differing = 0;
  for (size_t i = 0; i < answers.texts.size(); ++i) differing += answers.texts[i] != Expected().texts[i] ? 1 : 0;
  return differing;
}

double LogitsOffBy(const Answers& answers) {
  return ((answers.logits - Expected().logits).norm() / Expected().logits.norm()).item<double>();
}

class PlantedOutliersTest : public ::testing::TestWithParam<double> {
 protected:
  const testing::PlantedCheckpoint planted_{kDemo, GetParam()};
};

TEST_P(PlantedOutliersTest, Float32IsAsItWas) {
  const Answers answers = AnswersOf(planted_.folder(), {});
  EXPECT_EQ(Differing(answers), 0);
  EXPECT_LT(LogitsOffBy(answers), 1e-4);
}

TEST_P(PlantedOutliersTest, Int8AnswersAsFloat32) {
  const Answers answers = AnswersOf(planted_.folder(), {.integers = IntegerType::kInt8});
  EXPECT_EQ(Differing(answers), 0);
  EXPECT_LT(LogitsOffBy(answers), 0.015);
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
}

TEST_P(PlantedOutliersTest, KeysAndValuesOfInt8AnswerAsFloat32) {
  const Answers answers = AnswersOf(planted_.folder(), {.rounded_kv = true});
  EXPECT_EQ(Differing(answers), 0);
  EXPECT_LT(LogitsOffBy(answers), 0.01);
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
}

TEST_P(PlantedOutliersTest, Int4LosesNoMoreThanWithoutOutliers) {
  const Answers answers = AnswersOf(planted_.folder(), {.integers = IntegerType::kInt4});
  EXPECT_LE(Differing(answers), 2);
  EXPECT_LT(LogitsOffBy(answers), 0.12);
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
  for (const std::string& text : answers.texts) EXPECT_FALSE(text.empty());
}

// By libtorch's product for the CPU; a card adds in another order.
TEST_P(PlantedOutliersTest, FloatsOf8BitsAnswerAsFloat32) {
  const Answers answers = AnswersOf(planted_.folder(), {.dtype = at::kBFloat16, .float8 = true});
  RecordProperty("differing", Differing(answers));
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
  EXPECT_LE(Differing(answers), 1);
  EXPECT_LT(LogitsOffBy(answers), 0.05);
}

// As a card holds them, by the twins of its operators for the CPU.
TEST_P(PlantedOutliersTest, WeightsOf8BitsAloneAnswerAsFloat32) {
  const Answers answers = AnswersOf(planted_.folder(), {.dtype = at::kBFloat16, .integers = IntegerType::kInt8});
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
  EXPECT_EQ(Differing(answers), 0);
  EXPECT_LT(LogitsOffBy(answers), 0.015);
}

TEST_P(PlantedOutliersTest, WeightsOf4BitsAloneLoseNoMoreThanWithoutOutliers) {
  const Answers answers = AnswersOf(planted_.folder(), {.dtype = at::kBFloat16, .integers = IntegerType::kInt4});
  RecordProperty("differing", Differing(answers));
  RecordProperty("logits_off_by", std::to_string(LogitsOffBy(answers)));
  EXPECT_LE(Differing(answers), 2);
  EXPECT_LT(LogitsOffBy(answers), 0.12);
}

INSTANTIATE_TEST_SUITE_P(Gains, PlantedOutliersTest, ::testing::Values(1, 60, 300, 1000),
                         [](const auto& info) { return "Times" + std::to_string(static_cast<int>(info.param)); });

}  // namespace
}  // namespace diptych::blip2
