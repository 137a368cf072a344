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

#include "blip2/checkpoint/safetensors.h"
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
    if (std::filesystem::exists(entry.path() / "golden.safetensors")) names.push_back(entry.path().filename());
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

// The tensors of one file.
class GoldenTensors {
 public:
  explicit GoldenTensors(const path& file) {
    auto opened = SafetensorsFile::Open(file);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) file_ = *std::move(opened);
  }

  // Undefined if there is none.
  at::Tensor operator[](const std::string& name) const {
    if (file_ == nullptr) return {};
    const auto found = file_->tensors().find(name);
    if (found == file_->tensors().end()) return {};
    const TensorEntry& entry = found->second;
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    std::memcpy(tensor.data_ptr(), entry.data.data(), entry.data.size());
    return tensor;
  }

 private:
  std::unique_ptr<SafetensorsFile> file_;
};

// Shares, so the tolerance is absolute.
void ExpectSameShares(const at::Tensor& actual, const at::Tensor& golden, const char* map) {
  ASSERT_TRUE(golden.defined()) << map;
  ASSERT_EQ(actual.sizes(), golden.sizes()) << map;
  EXPECT_LE((actual - golden).abs().max().item<double>(), kTolerance) << map;
}

// attention.safetensors of a folder.
class AttentionGoldens {
 public:
  explicit AttentionGoldens(const path& folder) : tensors_(folder / "attention.safetensors") {}

  void Compare(const testing::WholeModel& model, const testing::Question& question, const std::string& name,
               const std::vector<int64_t>& token_ids) const {
    const at::Tensor ids = tensors_[name + ".ids"];
    ASSERT_TRUE(ids.defined());
    ASSERT_TRUE(ids.equal(at::tensor(token_ids)));
    const auto attention = model.Attend(question, token_ids);
    ASSERT_TRUE(attention.ok()) << attention.status();
    ExpectSameShares(attention->cls, tensors_[name + ".cls"], "cls");
    ExpectSameShares(attention->queries, tensors_[name + ".queries"], "queries");
    ExpectSameShares(attention->decoder, tensors_[name + ".decoder"], "decoder");
    EXPECT_TRUE(at::allclose(attention->cls.sum(), at::ones({}), 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(attention->queries.sum(1), at::ones({attention->queries.size(0)}), 1e-5, 1e-5));
  }

 private:
  const GoldenTensors tensors_;
};

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = json::parse(ReadBytes(kGoldens / GetParam() / "golden.json"));
    tensors_ = std::make_unique<GoldenTensors>(kGoldens / GetParam() / "golden.safetensors");
    auto model = testing::WholeModel::Load(kGoldens / GetParam() / "model", Placement{});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  at::Tensor Golden(const std::string& name) const { return (*tensors_)[name]; }

  void ExpectNear(const at::Tensor& actual, const std::string& name) const {
    const at::Tensor golden = Golden(name);
    ASSERT_EQ(golden.defined(), actual.defined()) << name;
    if (!golden.defined()) return;
    ASSERT_EQ(actual.sizes(), golden.sizes()) << name;
    const double largest = golden.abs().max().item<double>();
    EXPECT_LE((actual - golden).abs().max().item<double>(), kTolerance * largest) << name;
  }

  json golden_;
  std::unique_ptr<GoldenTensors> tensors_;
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

TEST_P(GoldenTest, LooksWhereTransformersLooks) {
  const AttentionGoldens goldens(kGoldens / GetParam());
  int compared = 0;
  for (const json& golden : golden_["cases"]) {
    if (golden["image"].is_null() || golden.contains("num_beams")) continue;
    SCOPED_TRACE(golden["name"]);
    goldens.Compare(*model_, QuestionOf(golden), golden["name"], golden["token_ids"].get<std::vector<int64_t>>());
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

TEST(DemoGoldenTest, LooksWhereTransformersLooks) {
  const AttentionGoldens goldens(kGoldens / "demo");
  const auto model = testing::WholeModel::Load(testing::RepositoryPath("models/demo"), Placement{});
  ASSERT_TRUE(model.ok()) << model.status();
  testing::Question question{
      .image = ReadBytes(testing::RepositoryPath("models/demo/samples/red_circle_blue_star.png")),
      .text = "Question: What color is the circle? Answer:",
      .options = {}};
  for (const auto& [name, image_size] : {std::pair{"question", 0}, std::pair{"larger", 224}}) {
    question.image_size = image_size;
    const auto answer = (*model)->Ask(question);
    ASSERT_TRUE(answer.ok()) << answer.status();
    goldens.Compare(**model, question, name, answer->token_ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GoldenTest, ::testing::ValuesIn(Shapes()),
                         [](const auto& info) { return info.param; });

TEST(GoldenFilesTest, CoverTwelveShapes) {
  EXPECT_EQ(Shapes().size(), 12u);
}

}  // namespace
}  // namespace diptych::blip2
