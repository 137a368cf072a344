// The commands that analyse and measure, each once against the three real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "tests/end_to_end/stack.h"
#include "tests/testing/paths.h"

namespace diptych {
namespace {

using ::testing::HasSubstr;

class AnalysisCommandLineTest : public testing::SharedStackTest {
 protected:
  static testing::Finished Diptych(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    return testing::RunProgram(arguments, "", {"DIPTYCH_SERVER=" + stack_->address()});
  }

  // The objects of a command that must end well.
  static std::vector<nlohmann::json> Json(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const testing::Finished run = Diptych(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    std::vector<nlohmann::json> objects;
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) objects.push_back(nlohmann::json::parse(line));
    return objects;
  }

  const std::string image_ = testing::kDemoModel + "/samples/red_circle_blue_star.png";
};

TEST_F(AnalysisCommandLineTest, BudgetOfTheServedModelIsArithmetic) {
  const testing::Finished budget = Diptych({"budget"});
  EXPECT_EQ(budget.exit_code, 0) << budget.err;
  EXPECT_THAT(budget.out, HasSubstr("demo: an image of 112 px in patches of 14 px is 64 patches and 16 query tokens"));
}

TEST_F(AnalysisCommandLineTest, AnalyzeTellsShapesAtEachSize) {
  const auto analyses = Json({"analyze", "--image", image_, "--image_size", "112,224"});
  ASSERT_EQ(analyses.size(), 2u);
  EXPECT_EQ(analyses[0]["original_size"], (std::vector<int>{224, 224}));
  EXPECT_EQ(analyses[0]["pixel_shape"], (std::vector<int>{1, 3, 112, 112}));
  EXPECT_EQ(analyses[0]["feature_shape"], (std::vector<int>{1, 65, 128}));
  EXPECT_EQ(analyses[1]["visual_tokens"], 257);
  EXPECT_EQ(analyses[1]["query_tokens"], 16);
  EXPECT_GT(analyses[1]["mean_norm"], 0);
  const testing::Finished refused = Diptych({"analyze", "--image", image_, "--image_size", "100"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("OPTION_RANGE"));
}

TEST_F(AnalysisCommandLineTest, AttentionDrawsEachMapOverTheImage) {
  const std::string overlay = ::testing::TempDir() + "/diptych_overlay.png";
  for (const std::string map : {"cls", "queries", "query:15"}) {
    std::filesystem::remove(overlay);
    const auto attention = Json({"attention", "--image", image_, "--map", map, "--out", overlay});
    ASSERT_EQ(attention.size(), 1u);
    const std::vector<double> values = attention[0]["patches"]["values"];
    EXPECT_EQ(values.size(), 64u);
    EXPECT_NEAR(std::accumulate(values.begin(), values.end(), attention[0]["class_token"].get<double>()), 1, 1e-4);
    EXPECT_EQ(testing::ReadWhole(overlay).substr(1, 3), "PNG");
  }
  std::filesystem::remove(overlay);
  EXPECT_THAT(Diptych({"attention", "--image", image_}).out, HasSubstr("cls: 8 x 8 patches"));
  const testing::Finished none = Diptych({"attention", "--image", image_, "--map", "query:16"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("the queries 0 to 15"));
}

TEST_F(AnalysisCommandLineTest, RelevanceFollowsEachTokenToThePatches) {
  const std::vector<std::string> question{"ask",  "--return_relevance", "--image",
                                          image_, "--question",         "What color is the circle?"};
  const auto answers = Json(question);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0]["relevance"].size(), answers[0]["token_ids"].size());
  EXPECT_EQ(answers[0]["relevance"][0]["images"][0]["values"].size(), 64u);
  const testing::Finished shown = Diptych(question);
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("image 1, all tokens together"));
}

TEST_F(AnalysisCommandLineTest, SweepComputesEachSizeAnew) {
  const auto sizes = Json(
      {"sweep", "--image", image_, "--sizes", "112,224", "--repeat", "2", "--question", "What color is the circle?"});
  ASSERT_EQ(sizes.size(), 2u);
  EXPECT_EQ(sizes[0]["answer"], "red");
  EXPECT_EQ(sizes[0]["patch_tokens"], 64);
  EXPECT_EQ(sizes[1]["patch_tokens"], 256);
  for (const auto& size : sizes) EXPECT_EQ(size["cache_hits"], 0);
}

TEST_F(AnalysisCommandLineTest, CostIsMeasuredWithoutCachesAndItsStagesAddUp) {
  const auto lines = Json({"bench", "cost", "--repeat", "3", "--new_tokens", "4"});
  ASSERT_EQ(lines.size(), 6u);
  for (int i = 0; i < 4; ++i) {
    const auto& seconds = lines[i]["seconds"];
    const double sum = seconds["vision"].get<double>() + seconds["qformer"].get<double>() +
                       seconds["prefill"].get<double>() + seconds["decode"].get<double>() +
                       seconds["other"].get<double>();
    EXPECT_NEAR(sum, seconds["total"].get<double>(), 1e-6);
    EXPECT_EQ(lines[i]["cache_hits"], 0) << lines[i];
    EXPECT_EQ(lines[i]["answer_tokens"], 4);
  }
  EXPECT_EQ(lines[0]["image_tokens"], 0);
  EXPECT_EQ(lines[2]["dense_patch_tokens"], 256);
  EXPECT_EQ(lines[3]["image_tokens"], 64);
  EXPECT_EQ(lines[4]["source"], "image");
}

TEST_F(AnalysisCommandLineTest, LoadAnswersEveryRequest) {
  const auto report = Json({"bench", "load", "--requests", "12", "--concurrency", "4"});
  ASSERT_EQ(report.size(), 1u);
  EXPECT_EQ(report[0]["answered"], 12);
  EXPECT_GT(report[0]["answers_per_second"], 0);
}

TEST_F(AnalysisCommandLineTest, LoadAtARateMixesImagesAndText) {
  const auto report = Json({"bench", "load", "--requests", "16", "--rate", "20", "--text_share", "0.5",
                            "--slo_first_token", "1h", "--slo_total", "1h"});
  ASSERT_EQ(report.size(), 1u);
  EXPECT_EQ(report[0]["answered"], 16) << report[0];
  EXPECT_EQ(report[0]["within_slo"], 16);
  EXPECT_GT(report[0]["text_only"], 0);
  EXPECT_LT(report[0]["text_only"], 16);
  EXPECT_EQ(report[0]["lost"], 0);
  EXPECT_GE(report[0]["seconds"], report[0]["total_seconds"]["max"]);
}

TEST_F(AnalysisCommandLineTest, OptimizationsStartsAndStopsServersOfItsOwn) {
  const auto techniques = Json({"bench", "optimizations", "--model", testing::kDemoModel, "--rounds", "1", "--requests",
                                "2", "--threads", "1", "--techniques", "bfloat16,combined"});
  ASSERT_EQ(techniques.size(), 3u);
  EXPECT_EQ(techniques[0]["technique"], "baseline");
  EXPECT_EQ(techniques[0]["speed_up"], 1.0);
  EXPECT_EQ(techniques[2]["technique"], "combined");
  EXPECT_GT(techniques[2]["speed_up"], 0);
  const testing::Finished broken = Diptych({"bench", "optimizations", "--model", testing::RepositoryPath("docs")});
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_THAT(broken.err, HasSubstr("docs holds no config.json"));
}

}  // namespace
}  // namespace diptych
