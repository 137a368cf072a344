// budget, sweep, bench and the options of the commands that draw, against a gateway before fake tiers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "cli/charts/filter_program.h"
#include "common/grpc/grpc_status.h"
#include "common/replicas/tier_errors.h"
#include "common/requests/question_limits.h"
#include "common/status.h"
#include "tests/cli/cli_fixture.h"

namespace diptych::cli {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::Finished;
using testing::FinishedMessage;
using ::testing::HasSubstr;
using testing::StartedMessage;

class AnalysisCommandsTest : public CliFixture {};

TEST_F(AnalysisCommandsTest, BudgetCountsAsTheNotebookDoes) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const Finished budget = Diptych({"budget", "--json", "--image_size", "224,672", "--patch_size", "14,16"});
  EXPECT_EQ(budget.exit_code, 0) << budget.err;
  const auto plans = JsonLines(budget.out);
  ASSERT_EQ(plans.size(), 4u) << budget.out;
  EXPECT_EQ(plans[0]["patch_tokens"], 256);
  EXPECT_EQ(plans[1]["patch_tokens"], 2304);
  EXPECT_EQ(plans[2]["patch_tokens"], 196);
  EXPECT_EQ(plans[1]["query_tokens"], 32);
  ASSERT_EQ(plans[1]["windows"].size(), 4u);
  EXPECT_EQ(plans[1]["windows"][0]["window"], 2048);
  EXPECT_EQ(plans[1]["windows"][0]["remaining"], 2016);
  EXPECT_EQ(plans[1]["windows"][0]["remaining_dense"], -256) << "it does not fit";
  EXPECT_EQ(plans[0]["windows"][3]["images_that_fit_dense"], (16384 - 20) / 256);
}

TEST_F(AnalysisCommandsTest, BudgetShowsTablesAndBars) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const Finished budget = Diptych({"budget", "--image_size", "224", "--window", "2048"});
  EXPECT_EQ(budget.exit_code, 0) << budget.err;
  EXPECT_THAT(budget.out, HasSubstr("fake: an image of 224 px in patches of 14 px is 256 patches and 32 query tokens"));
  EXPECT_THAT(budget.out, HasSubstr("2,048 = 256 + 1,792"));
}

TEST_F(AnalysisCommandsTest, WhatTheServerRefusesIsExitCodeOne) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const Finished budget = Diptych({"budget", "--prompt", std::string(kMaxTextBytes + 1, 'a')});
  EXPECT_EQ(budget.exit_code, 1);
  EXPECT_THAT(budget.err, HasSubstr("OPTION_RANGE"));
}

TEST_F(AnalysisCommandsTest, UsageErrorsAreExitCodeTwoBeforeAnythingIsAsked) {
  server_ = testing::DeadTarget();
  const std::string image = WriteFile("a.png", testing::PngHeader(8, 8));
  const std::vector<std::vector<std::string>> wrong = {
      {"budget", "--plot", "a.pdf"},
      {"budget", "--patch_size", "0"},
      {"budget", "--patch_size", "1025"},
      {"budget", "--patch_size", "14,1025"},
      {"budget", "--image_size", "8193"},
      {"budget", "--window", "0"},
      {"budget", "--max_new_tokens", "-1"},
      {"attention", "--image", image, "--map", "query:-1"},
      {"attention", "--image", image, "--out", "a.jpg"},
      {"attention", "--image", "no/such/file"},
      {"analyze"},
      {"sweep", "--image", "no/such/file"},
      {"sweep", "--image", image, "--sizes", "big"},
      {"bench"},
      {"bench", "load", "--concurrency", "0"},
      {"bench", "load", "--rate", "0"},
      {"bench", "load", "--rate", "nan"},
      {"bench", "load", "--rate", "5", "--concurrency", "8"},
      {"bench", "load", "--text_share", "1.5"},
      {"bench", "load", "--slo_total", "soon"},
      {"bench", "optimizations", "--model", ".", "--techniques", "int4"}};
  for (const auto& arguments : wrong) EXPECT_EQ(Diptych(arguments).exit_code, 2) << arguments.back();
}

TEST_F(AnalysisCommandsTest, AnUnreachableServerIsExitCodeThree) {
  server_ = testing::DeadTarget();
  const std::string image = WriteFile("a.png", testing::PngHeader(8, 8));
  const std::vector<std::vector<std::string>> commands = {{"budget"},
                                                          {"analyze", "--image", image},
                                                          {"attention", "--image", image},
                                                          {"sweep", "--image", image},
                                                          {"bench", "cost"},
                                                          {"bench", "load"}};
  for (const auto& arguments : commands) EXPECT_EQ(Diptych(arguments).exit_code, 3) << arguments[0];
}

TEST_F(AnalysisCommandsTest, APlotWithoutGnuplotNamesTheFix) {
  const std::string file = ::testing::TempDir() + "/plot.svg";
  const Finished budget =
      testing::RunProgram({"/usr/bin/env", "PATH=/nowhere", testing::BinaryPath("diptych"), "budget", "--plot", file});
  EXPECT_EQ(budget.exit_code, 1);
  EXPECT_THAT(budget.err, HasSubstr("GNUPLOT_MISSING"));
  EXPECT_THAT(budget.err, HasSubstr("apt-get install -y gnuplot-nox"));
}

TEST_F(AnalysisCommandsTest, APlotThatCannotBeWrittenIsAFailure) {
  if (absl::IsNotFound(RunFilter({"gnuplot", "--version"}, "").status())) GTEST_SKIP() << "gnuplot is not installed";
  FakeLanguageTier language;
  StartGateway(language.target());
  const Finished budget = Diptych({"budget", "--plot", "/no/such/folder/plot.svg"});
  EXPECT_EQ(budget.exit_code, 1);
  EXPECT_THAT(budget.err, HasSubstr("cannot write /no/such/folder/plot.svg"));
}

TEST_F(AnalysisCommandsTest, SweepAsksAtAllowedSizesAndNeverTwiceTheSame) {
  std::mutex mutex;
  std::vector<v1::ImageOptions> seen;
  FakeLanguageTier language([&](int, auto*, const v1::GenerateRequest& request, auto* writer) {
    {
      std::lock_guard lock(mutex);
      seen.push_back(request.question().image_options());
    }
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("red", 5));
    writer->Write(FinishedMessage("red"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Finished sweep = Diptych({"sweep", "--json", "--image", WriteFile("a.png", testing::PngHeader(8, 8)), "--sizes",
                                  "128,224", "--question", "Q", "--repeat", "2"});
  EXPECT_EQ(sweep.exit_code, 0) << sweep.err;
  EXPECT_THAT(sweep.err, HasSubstr("128 is not a multiple of the patch size 14"));
  const auto sizes = JsonLines(sweep.out);
  ASSERT_EQ(sizes.size(), 2u) << sweep.out;
  EXPECT_EQ(sizes[0]["requested"], 128);
  EXPECT_EQ(sizes[0]["image_size"], 126);
  EXPECT_EQ(sizes[0]["seconds"].size(), 2u);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].image_size(), 126);
  EXPECT_EQ(seen[1].image_size(), 224);
  EXPECT_EQ(seen[2].image_size(), 126);
  EXPECT_NE(seen[0].max_side(), seen[2].max_side()) << "another key for the caches";
}

TEST_F(AnalysisCommandsTest, LoadCountsRefusalsAndGoesOn) {
  FakeLanguageTier language([](int call, auto*, const auto&, auto* writer) {
    if (call % (1 + kMaxTierAttempts) != 1) {  // every other question, as often as the gateway asks
      return ToGrpcStatus(
          RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(9)));
    }
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage("red", 5));
    writer->Write(FinishedMessage("red"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Finished load = Diptych({"bench", "load", "--json", "--text_alone", "--requests", "6", "--concurrency", "1"});
  EXPECT_EQ(load.exit_code, 0) << load.err;
  const auto report = JsonLines(load.out).at(0);
  EXPECT_EQ(report["answered"], 3) << load.out;
  EXPECT_EQ(report["refused"], 3);
  EXPECT_TRUE(report["errors"].empty());
}

TEST_F(AnalysisCommandsTest, ALoadAtARateDoesNotWaitForAnswers) {
  constexpr int kAtOnce = 12;
  std::atomic<int> inside = 0;
  FakeLanguageTier language([&](int, auto*, const auto&, auto* writer) {
    ++inside;
    while (inside < kAtOnce) std::this_thread::yield();  // nobody is answered before all have asked
    writer->Write(StartedMessage());
    for (const char* word : {"a ", "red ", "circle"}) writer->Write(DeltaMessage(word, 5));
    writer->Write(FinishedMessage("a red circle"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Finished load = Diptych({"bench", "load", "--json", "--text_alone", "--requests", std::to_string(kAtOnce),
                                 "--rate", "1000", "--slo_total", "1h", "--arrival_seed", "3"});
  EXPECT_EQ(load.exit_code, 0) << load.err;
  const auto report = JsonLines(load.out).at(0);
  EXPECT_EQ(report["answered"], kAtOnce) << load.out;
  EXPECT_EQ(report["within_slo"], kAtOnce);
  EXPECT_EQ(report["text_only"], kAtOnce);
  EXPECT_EQ(report["rate"], 1000);
  for (const char* times : {"first_token_seconds", "between_tokens_seconds", "total_seconds", "late_seconds"}) {
    EXPECT_TRUE(report[times].contains("p99")) << times;
  }
}

TEST_F(AnalysisCommandsTest, LoadFailsOnOtherErrors) {
  FakeLanguageTier language([](int, auto*, const auto&, auto*) {
    return ToGrpcStatus(MakeError(absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded, "too long"));
  });
  StartGateway(language.target());
  const Finished load = Diptych({"bench", "load", "--text_alone", "--requests", "2"});
  EXPECT_EQ(load.exit_code, 1);
  EXPECT_THAT(load.out, HasSubstr("2 CONTEXT_LENGTH_EXCEEDED"));
}

TEST_F(AnalysisCommandsTest, ALoadHoldsALargeImageOnce) {
  FakeLanguageTier language([](int, auto*, const auto&, auto* writer) {
    writer->Write(StartedMessage());
    writer->Write(FinishedMessage("red"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  constexpr int64_t kImageBytes = 8 << 20, kRequests = 150;
  const std::string image = WriteFile("photo.png", testing::PngHeader(8, 8) + std::string(kImageBytes, '\0'));
  const Finished load = Diptych({"bench", "load", "--json", image, "--requests", std::to_string(kRequests)});
  EXPECT_EQ(JsonLines(load.out).at(0)["answered"], kRequests) << load.out << load.err;
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  EXPECT_LT(used.ru_maxrss * int64_t{1024}, kRequests * kImageBytes / 2);
}

TEST_F(AnalysisCommandsTest, WithJsonStandardErrorHasObjectsAlone) {
  FakeLanguageTier language;
  StartGateway(language.target());
  const std::string image = WriteFile("a.png", testing::PngHeader(8, 8));
  const std::vector<std::vector<std::string>> commands = {{"sweep", "--image", image, "--sizes", "128"},
                                                          {"sweep", "--image", image, "--sizes", "x"},
                                                          {"ask", image, "--no_such_flag"},
                                                          {"attention"}};
  for (std::vector<std::string> arguments : commands) {
    arguments.push_back("--json");
    const Finished finished = Diptych(arguments);
    EXPECT_FALSE(finished.err.empty()) << arguments[0];
    for (const std::string& line : Lines(finished.err)) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
}

}  // namespace
}  // namespace diptych::cli
