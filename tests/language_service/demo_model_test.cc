// Both tiers with the demo model: the answers are true.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "blip2/checkpoint/safetensors.h"
#include "common/status.h"
#include "language_service/served_model.h"
#include "language_service/server.h"
#include "tests/language_service/language_client.h"
#include "tests/testing/paths.h"
#include "tests/testing/sample_images.h"
#include "vision_service/served_model.h"
#include "vision_service/server.h"

namespace diptych::language {
namespace {

class DemoModelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string model = testing::RepositoryPath("models/demo");
    vision::VisionOptions vision_options;
    vision_options.model = model;
    vision_options.listen = "127.0.0.1:0";
    vision_options.threads = 1;
    auto vision = vision::VisionServer::Start(vision_options);
    ASSERT_TRUE(vision.ok()) << vision.status();
    vision_ = vision->release();
    auto language = StartLanguage("auto");
    ASSERT_TRUE(language.ok()) << language.status();
    language_ = language->release();
  }
  static void TearDownTestSuite() {
    delete language_;
    delete vision_;
  }

  static absl::StatusOr<std::unique_ptr<LanguageServer>> StartLanguage(const std::string& wire_dtype) {
    return LanguageServer::Start({.model = testing::RepositoryPath("models/demo"),
                                  .listen = "127.0.0.1:0",
                                  .vision_target = absl::StrCat("ipv4:127.0.0.1:", vision_->port()),
                                  .wire_dtype = wire_dtype,
                                  .threads = 1});
  }

  // The answers' tokens to all questions about the samples.
  static std::vector<std::vector<int>> AnswersOf(v1::LanguageService::Stub& stub) {
    std::vector<std::vector<int>> answers;
    for (const auto& sample : nlohmann::json::parse(testing::ReadRepositoryFile("models/demo/samples.json"))) {
      const std::string image = testing::ReadRepositoryFile("models/demo/" + sample["image"].get<std::string>());
      for (const auto& question : sample["questions"]) {
        v1::GenerateRequest request;
        request.mutable_question()->add_images()->set_data(image);
        v1::Turn* turn = request.mutable_question()->add_turns();
        turn->set_role(v1::ROLE_USER);
        turn->set_text(question["question"]);
        const testing::GenerateOutcome outcome = testing::Generate(stub, request);
        EXPECT_TRUE(outcome.status.ok()) << outcome.status;
        answers.push_back(outcome.delta_tokens());
      }
    }
    return answers;
  }

  std::unique_ptr<v1::LanguageService::Stub> stub_ = testing::LanguageStub(language_->port());

  static inline vision::VisionServer* vision_ = nullptr;
  static inline LanguageServer* language_ = nullptr;
};

TEST_F(DemoModelTest, AnswersTheSampleQuestionsTruly) {
  const auto samples = nlohmann::json::parse(testing::ReadRepositoryFile("models/demo/samples.json"));
  int asked = 0, right = 0;
  for (const auto& sample : samples) {
    const std::string image = testing::ReadRepositoryFile("models/demo/" + sample["image"].get<std::string>());
    for (const auto& question : sample["questions"]) {
      v1::GenerateRequest request;
      request.mutable_question()->add_images()->set_data(image);
      v1::Turn* turn = request.mutable_question()->add_turns();
      turn->set_role(v1::ROLE_USER);
      turn->set_text(question["question"]);
      const testing::GenerateOutcome outcome = testing::Generate(*stub_, request);
      ASSERT_TRUE(outcome.status.ok()) << outcome.status;
      ++asked;
      right += outcome.answer().text() == question["answer"].get<std::string>() ? 1 : 0;
    }
  }
  EXPECT_GE(right, asked * 9 / 10) << right << " of " << asked;
}

TEST_F(DemoModelTest, AnswersAreTheSameInEachFormOnTheWire) {
  const auto expected = AnswersOf(*stub_);
  for (const std::string wire_dtype : {"float32", "bfloat16", "float16", "int8"}) {
    const auto server = StartLanguage(wire_dtype);
    ASSERT_TRUE(server.ok()) << server.status();
    const auto answers = AnswersOf(*testing::LanguageStub((*server)->port()));
    int differing = 0;
    for (size_t i = 0; i < answers.size(); ++i) differing += answers[i] != expected[i] ? 1 : 0;
    EXPECT_EQ(differing, 0) << wire_dtype << ", of " << answers.size();
  }
}

TEST_F(DemoModelTest, BothTiersComputeInOneThreadUnlessTold) {
  const std::string model = testing::RepositoryPath("models/demo");
  const int before = at::get_num_threads();
  for (const auto& [told, threads] : {std::pair{0, 1}, {3, 3}}) {
    ASSERT_TRUE(vision::LoadVisionModel({.model = model, .threads = told}).ok());
    EXPECT_EQ(at::get_num_threads(), threads);
    at::set_num_threads(2);
    ASSERT_TRUE(LoadLanguageModel({.model = model, .threads = told}).ok());
    EXPECT_EQ(at::get_num_threads(), threads);
    at::set_num_threads(before);
  }
}

TEST_F(DemoModelTest, AWireDTypeThatIsNoneIsRefused) {
  const auto server = StartLanguage("int4");
  EXPECT_EQ(server.status().message(), "--wire_dtype takes auto, float32, bfloat16, float16 or int8");
}

TEST_F(DemoModelTest, AnEmptyPromptGivesTheCaption) {
  v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "");
  const testing::GenerateOutcome outcome = testing::Generate(*stub_, request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_NE(outcome.answer().text().find("red circle"), std::string::npos) << outcome.answer().text();
  EXPECT_EQ(outcome.answer().finish_reason(), v1::FINISH_REASON_STOP);
}

// tests/goldens/demo: what transformers makes of its attention.
TEST_F(DemoModelTest, RelevanceIsThatOfTransformers) {
  const auto goldens =
      blip2::SafetensorsFile::Open(testing::RepositoryPath("tests/goldens/demo/attention.safetensors"));
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  for (const auto& [name, image_size] : {std::pair{"question", 0}, std::pair{"larger", 224}}) {
    v1::GenerateRequest request;
    v1::Question& question = *request.mutable_question();
    question.add_images()->set_data(testing::GoodPng());
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text("What color is the circle?");
    question.set_return_relevance(true);
    if (image_size > 0) question.mutable_image_options()->set_image_size(image_size);
    const testing::GenerateOutcome outcome = testing::Generate(*stub_, request);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    const auto& entry = (*goldens)->tensors().at(absl::StrCat(name, ".relevance"));
    const v1::Answer& answer = outcome.answer();
    ASSERT_EQ(answer.relevance_size(), entry.shape[0]);
    double worst = 0;
    for (int token = 0; token < answer.relevance_size(); ++token) {
      const v1::FloatGrid& grid = answer.relevance(token).images(0);
      ASSERT_EQ(int64_t{grid.rows()} * grid.columns(), entry.shape[1]);
      for (int i = 0; i < grid.values_size(); ++i) {
        float golden = 0;
        std::memcpy(&golden, entry.data.data() + 4 * (token * entry.shape[1] + i), 4);
        worst = std::max(worst, std::abs(double{grid.values(i)} - golden));
      }
    }
    EXPECT_LE(worst, 1e-4) << name;
  }
}

TEST_F(DemoModelTest, BothTiersCountMergedTokensAlike) {
  for (const double merging : {0.001, 0.1, 0.37, 0.5}) {
    v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "");
    request.mutable_question()->mutable_image_options()->set_token_merging(merging);
    const testing::GenerateOutcome outcome = testing::Generate(*stub_, request);
    ASSERT_TRUE(outcome.status.ok()) << merging << ": " << outcome.status;
    if (merging <= 0.1) {
      EXPECT_NE(outcome.answer().text().find("red circle"), std::string::npos) << outcome.answer().text();
    }
  }
}

TEST_F(DemoModelTest, AStopStringEndsTheAnswerBeforeItself) {
  v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "");
  request.mutable_question()->mutable_generation()->add_stop("circle in");  // reaches across tokens
  const testing::GenerateOutcome outcome = testing::Generate(*stub_, request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.answer().text(), "a red");
  EXPECT_EQ(outcome.joined_deltas(), "a red");
  EXPECT_EQ(outcome.answer().finish_reason(), v1::FINISH_REASON_STOP_STRING);
}

TEST_F(DemoModelTest, AImageThatIsCutOffIsNamedByItsPlace) {
  v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "");
  request.mutable_question()->add_images()->set_data(testing::CutOffJpeg());
  const absl::Status status = testing::Generate(*stub_, request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason::kImageCorrupt);
  EXPECT_EQ(FieldOf(status), "question.images[1]");
}

}  // namespace
}  // namespace diptych::language
