// Compares with what transformers computed: tests/goldens, made by tools/make_goldens.py.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/safetensors.h"
#include "tests/testing/paths.h"
#include "tests/testing/whole_model.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;
using std::filesystem::path;

const path kGoldens = testing::RepositoryPath("tests/goldens");
constexpr double kTolerance = 1e-4;  // of the golden tensor's largest magnitude

std::string ReadBytes(const path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in.good()) << file;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> Shapes() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
    if (std::filesystem::exists(entry.path() / "golden.json")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

testing::Question QuestionOf(const json& golden) {
  testing::Question question;
  if (!golden["image"].is_null()) question.image = ReadBytes(kGoldens / golden["image"].get<std::string>());
  if (!golden["text"].is_null()) question.text = golden["text"];
  question.image_size = golden["image_size"];
  question.options.max_new_tokens = golden["max_new_tokens"];
  question.options.min_new_tokens = golden["min_new_tokens"];
  question.options.repetition_penalty = golden["repetition_penalty"];
  question.options.num_beams = golden.value("num_beams", int64_t{1});
  question.options.length_penalty = golden.value("length_penalty", 1.0);
  return question;
}

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = json::parse(ReadBytes(kGoldens / GetParam() / "golden.json"));
    auto tensors = SafetensorsFile::Open(kGoldens / GetParam() / "golden.safetensors");
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    tensors_ = *std::move(tensors);
    auto model = testing::WholeModel::Load(kGoldens / GetParam() / "model", Placement{});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  at::Tensor Golden(const std::string& name) const {
    const auto found = tensors_->tensors().find(name);
    if (found == tensors_->tensors().end()) return {};
    const TensorEntry& entry = found->second;
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    std::memcpy(tensor.data_ptr(), entry.data.data(), entry.data.size());
    return tensor;
  }

  void ExpectNear(const at::Tensor& actual, const std::string& name) const {
    const at::Tensor golden = Golden(name);
    ASSERT_EQ(golden.defined(), actual.defined()) << name;
    if (!golden.defined()) return;
    ASSERT_EQ(actual.sizes(), golden.sizes()) << name;
    const double largest = golden.abs().max().item<double>();
    EXPECT_LE((actual - golden).abs().max().item<double>(), kTolerance * largest) << name;
  }

  json golden_;
  std::unique_ptr<SafetensorsFile> tensors_;
  std::unique_ptr<testing::WholeModel> model_;
};

TEST_P(GoldenTest, ReadsTheConfigurationAsTransformersDoes) {
  EXPECT_EQ(model_->config().text.eos_token_ids, golden_["eos_token_ids"].get<std::vector<int64_t>>());
  EXPECT_EQ(model_->config().image_token_id, golden_["image_token_id"].get<int64_t>());
}

TEST_P(GoldenTest, GivesTheSameTensorsAndTokens) {
  for (const json& golden : golden_["cases"]) {
    const std::string name = golden["name"];
    SCOPED_TRACE(name);
    const absl::StatusOr<testing::Answer> answer = model_->Ask(QuestionOf(golden));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->prompt_ids, golden["prompt_ids"].get<std::vector<int64_t>>());
    EXPECT_EQ(answer->token_ids, golden["token_ids"].get<std::vector<int64_t>>());
    EXPECT_EQ(answer->text, golden["answer"].get<std::string>());
    if (golden.contains("num_beams")) continue;  // the taps are those of a greedy case
    if (const at::Tensor pixels = Golden(name + ".pixels"); pixels.defined()) {
      EXPECT_TRUE(at::equal(answer->taps.pixels, pixels)) << "pixels must be equal bit for bit";
    }
    ExpectNear(answer->taps.vision, name + ".vision");
    ExpectNear(answer->taps.qformer, name + ".qformer");
    ExpectNear(answer->taps.projected, name + ".projected");
    ExpectNear(answer->taps.logits, name + ".logits");
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GoldenTest, ::testing::ValuesIn(Shapes()),
                         [](const auto& info) { return info.param; });

TEST(GoldenFilesTest, CoverTwelveShapes) {
  EXPECT_EQ(Shapes().size(), 12u);
}

}  // namespace
}  // namespace diptych::blip2
