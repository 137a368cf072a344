// What charts, tables and maps hold, without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/charts/budget_chart.h"
#include "cli/charts/chart.h"
#include "cli/charts/filter_program.h"
#include "cli/charts/gnuplot.h"
#include "cli/charts/terminal_chart.h"
#include "cli/images/heat_map.h"
#include "cli/images/image.h"
#include "cli/measurements/arrivals.h"
#include "cli/measurements/cost_chart.h"
#include "cli/measurements/fresh.h"
#include "cli/measurements/load_tally.h"
#include "cli/measurements/measure.h"
#include "cli/measurements/optimizations.h"
#include "cli/measurements/sweep_chart.h"
#include "cli/questions/relevance_text.h"
#include "common/stage_clock.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Chart OneBarChart(const std::string& name) {
  return {.title = name,
          .panels = {{.title = name,
                      .x_label = name,
                      .y_label = name,
                      .categories = {name, "b"},
                      .series = {{.name = name, .values = {1, 2}}, {.name = "s", .values = {3, std::nan("")}}},
                      .references = {{name, 1}}}}};
}

TEST(MeasureTest, PercentilesAreNearestRank) {
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 0.5), 2);
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 0.51), 3);
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 1), 4);
  EXPECT_EQ(Percentile({7}, 0.01), 7);
  EXPECT_TRUE(std::isnan(Percentile({}, 0.5)));
  EXPECT_EQ(Median({4, 1, 3}), 3);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
}

TEST(FilterProgramTest, PassesInputAndOutputAndNamesWhatFails) {
  EXPECT_EQ(*RunFilter({"cat"}, std::string(1 << 20, 'x')), std::string(1 << 20, 'x')) << "larger than any pipe";
  EXPECT_TRUE(absl::IsNotFound(RunFilter({"diptych-no-such-program"}, "").status()));
  const absl::Status failed = RunFilter({"ls", "/diptych/no/such/file"}, "").status();
  EXPECT_TRUE(absl::IsInternal(failed));
  EXPECT_THAT(std::string(failed.message()), HasSubstr("No such file"));
}

TEST(GnuplotTest, TheFormatFollowsTheEnding) {
  EXPECT_EQ(PlotFormatOf("a.svg"), PlotFormat::kSvg);
  EXPECT_EQ(PlotFormatOf("dir.svg/a.PNG"), PlotFormat::kPng);
  EXPECT_EQ(PlotFormatOf("a.pdf"), std::nullopt);
}

TEST(GnuplotTest, NamesFromOutsideAreLiteralsOnly) {
  if (absl::IsNotFound(RunFilter({"gnuplot", "--version"}, "").status())) GTEST_SKIP() << "gnuplot is not installed";
  const std::string mark = ::testing::TempDir() + "/diptych_gnuplot_mark";
  const std::string touch = "touch " + mark;
  for (const std::string& hostile : std::vector<std::string>{
           "`" + touch + "`", "'; system(\"" + touch + "\"); '", "\"; system '" + touch + "'; \"", "\\'`" + touch + "`",
           "a\n!" + touch + "\nEOD\n", "$(" + touch + ")", "@x ^{y} _z %s %d", "caf\xc3\xa9 \x1b[2J"}) {
    const auto svg =
        RunFilter({"gnuplot", "--default-settings"}, GnuplotScript(OneBarChart(hostile), PlotFormat::kSvg));
    ASSERT_TRUE(svg.ok()) << hostile << ": " << svg.status();
    EXPECT_THAT(*svg, HasSubstr("</svg>")) << hostile;
    EXPECT_FALSE(std::filesystem::exists(mark)) << hostile;
  }
}

TEST(GnuplotTest, DrawsEveryFormInBothFormats) {
  if (absl::IsNotFound(RunFilter({"gnuplot", "--version"}, "").status())) GTEST_SKIP() << "gnuplot is not installed";
  Chart chart;
  for (const Panel::Form form : {Panel::Form::kBars, Panel::Form::kStacked, Panel::Form::kLine}) {
    Panel panel = OneBarChart("5 %").panels[0];
    panel.form = form;
    panel.x = {10, 20};
    panel.value_text = TimesText;
    chart.panels.push_back(panel);
  }
  const auto svg = RunFilter({"gnuplot", "-d"}, GnuplotScript(chart, PlotFormat::kSvg));
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, HasSubstr("2.0×")) << "values stand beside their marks";
  EXPECT_THAT(*svg, Not(HasSubstr("%%"))) << "a category is shown as it is";
  const auto png = RunFilter({"gnuplot", "-d"}, GnuplotScript(chart, PlotFormat::kPng));
  ASSERT_TRUE(png.ok()) << png.status();
  EXPECT_TRUE(ReadPng(*png).ok());
}

TEST(TerminalChartTest, BarsAreAsLongAsTheirValues) {
  const Chart chart{.title = "",
                    .panels = {{.title = "T",
                                .y_label = "ms",
                                .categories = {"a", "long\nname"},
                                .series = {{.name = "", .values = {1, 2}}},
                                .value_text = MillisecondsText}}};
  std::string half, whole;
  for (int i = 0; i < 22; ++i) half += "█";
  for (int i = 0; i < 44; ++i) whole += "█";
  EXPECT_EQ(TerminalChart(chart), "T — ms\n  a          " + half + " 1.0\n  long name  " + whole + " 2.0\n");
}

TEST(TerminalChartTest, StacksShowTheirPartsAndTheSum) {
  Chart chart = OneBarChart("n");
  chart.panels[0].form = Panel::Form::kStacked;
  const std::string text = TerminalChart(chart);
  EXPECT_THAT(text, HasSubstr("█ n  ▒ s"));
  EXPECT_THAT(text, HasSubstr(" 4 = 1 + 3\n"));
  EXPECT_THAT(text, HasSubstr(" 2 = 2\n")) << "what is not there has no part";
  EXPECT_THAT(TerminalChart(OneBarChart("\x1b[2J")), Not(HasSubstr("\x1b")));
}

TEST(SweepTest, SizesBecomeTheNearestMultipleOfThePatch) {
  const auto sizes = AllowedSizes({448, 128, 224, 1, 5000}, 14);
  ASSERT_EQ(sizes.size(), 5u);
  EXPECT_EQ(sizes[0].image_size, 14);
  EXPECT_EQ(sizes[0].requested, 1);
  EXPECT_EQ(sizes[1].image_size, 126);
  EXPECT_EQ(sizes[1].requested, 128);
  EXPECT_EQ(sizes[2].image_size, 224);
  EXPECT_EQ(sizes[3].image_size, 448);
  EXPECT_EQ(sizes[4].image_size, 1022) << "the largest that is allowed";
  EXPECT_EQ(AllowedSizes({100}, 0)[0].image_size, 100) << "a server that does not know its patch";
}

v1::Answer AnswerOf(double total, double vit, double qformer, double prefill, double decode) {
  v1::Answer answer;
  const auto set = [](google::protobuf::Duration* duration, double seconds) {
    *duration = ToProtoDuration(std::chrono::duration_cast<SteadyDuration>(std::chrono::duration<double>(seconds)));
  };
  set(answer.mutable_timings()->mutable_total(), total);
  set(answer.mutable_timings()->mutable_vit(), vit);
  set(answer.mutable_timings()->mutable_qformer(), qformer);
  set(answer.mutable_timings()->mutable_prefill(), prefill);
  set(answer.mutable_timings()->mutable_decode(), decode);
  answer.set_text("two small words");
  answer.mutable_usage()->set_prompt_tokens(6);
  return answer;
}

TEST(CostTest, TheTypicalAnswersStagesAddUp) {
  MeasuredCost cost{.name = "one",
                    .answers = {AnswerOf(9, 1, 1, 1, 1), AnswerOf(4, 1, 0.5, 1, 1), AnswerOf(1, 0, 0, 0, 1)}};
  const CostStages stages = StagesOf(cost.Typical());
  EXPECT_DOUBLE_EQ(stages.total, 4);
  EXPECT_DOUBLE_EQ(stages.vision + stages.qformer + stages.prefill + stages.decode + stages.other, 4);
  EXPECT_DOUBLE_EQ(stages.other, 0.5);
  EXPECT_DOUBLE_EQ(CostJson(cost, 2)["relative_cost"].get<double>(), 2);
}

TEST(CostTest, CacheHitsAreSaid) {
  MeasuredCost cost{.name = "one", .answers = {AnswerOf(1, 0, 0, 0, 1)}};
  EXPECT_THAT(CostTable({cost}), Not(HasSubstr("cache")));
  cost.answers[0].mutable_timings()->mutable_cache_hits()->set_kv_prefix(16);
  EXPECT_THAT(CostTable({cost}), HasSubstr("one found 16 tokens or images in a cache"));
}

TEST(CostTest, DescriptionsAreCountedInWords) {
  const Described described{.source = "image", .answers = {AnswerOf(1, 0, 0, 0, 1)}};
  EXPECT_EQ(described.Words(), 3);
  EXPECT_DOUBLE_EQ(DescribedJson(described)["words_per_prompt_token"].get<double>(), 0.5);
}

TEST(FreshTest, EachImageAndTextIsNewAndEachAnswerAsLong) {
  const auto one = FreshQuestion(2, 28, 5), two = FreshQuestion(2, 28, 5);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(one->images(0).data(), one->images(1).data());
  EXPECT_NE(one->images(0).data(), two->images(0).data());
  EXPECT_NE(one->turns(0).text(), two->turns(0).text());
  EXPECT_EQ(one->generation().min_new_tokens(), 5);
  v1::ImageOptions first, second, chosen;
  KeepFromCaches(first);
  KeepFromCaches(second);
  EXPECT_NE(first.max_side(), second.max_side());
  chosen.set_max_side(64);
  KeepFromCaches(chosen);
  EXPECT_EQ(chosen.max_side(), 64);
}

TEST(OptimizationsTest, EachTechniqueChangesOneThing) {
  const auto techniques = Techniques(0.1, 8);
  for (const Technique& technique : techniques) {
    const int changes =
        (technique.dtype != "float32") + (technique.token_merging > 0) + (technique.at_once > 1) + technique.one_image;
    EXPECT_EQ(changes, technique.name == "baseline" ? 0 : 1) << technique.name;
  }
}

TEST(OptimizationsTest, CombinesAllWithTheFastestDtype) {
  auto techniques = Techniques(0.1, 8);
  for (Technique& technique : techniques) technique.seconds_per_answer = {2, 4, 3};
  techniques[2].seconds_per_answer = {1, 9, 1};  // float16
  techniques[4].seconds_per_answer = {0.1};      // batching is no dtype
  const Technique combined = Combined(techniques);
  EXPECT_EQ(combined.dtype, "float16");
  EXPECT_EQ(combined.token_merging, 0.1);
  EXPECT_EQ(combined.at_once, 8);
  EXPECT_TRUE(combined.one_image);
  EXPECT_DOUBLE_EQ(TechniqueJson(techniques[2], techniques[0])["speed_up"].get<double>(), 3);
}

TEST(LoadTest, CountsWhatWasRefusedApartFromErrors) {
  const absl::Status full = RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "", absl::Seconds(1));
  const LoadReport report = Tally({{.seconds = 2, .first_token_seconds = 1, .tokens = 10},
                                   {.status = full},
                                   {.status = MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "")},
                                   {.status = absl::DeadlineExceededError("")},
                                   {.seconds = 4, .first_token_seconds = 3, .tokens = 20}},
                                  10);
  EXPECT_EQ(report.answered, 2);
  EXPECT_EQ(report.refused, 1);
  EXPECT_EQ(report.errors.at("TIER_UNAVAILABLE"), 1);
  EXPECT_EQ(report.past_deadline, 1);
  EXPECT_TRUE(report.failed());
  const nlohmann::json json = LoadJson(report);
  EXPECT_EQ(json["tokens_per_second"], 3);
  EXPECT_EQ(json["total_seconds"]["p50"], 2);
  EXPECT_EQ(json["first_token_seconds"]["max"], 3);
  EXPECT_THAT(LoadText(report), HasSubstr("5 requests in 10.00 s: 2 answered, 1 refused"));
}

TEST(LoadTest, LostRequestsAreThoseOfWhichNobodySaidHowTheyEnded) {
  const LoadReport report = Tally({{.status = absl::UnavailableError("connection reset")},
                                   {.status = absl::InternalError("the stream ended without an answer")},
                                   {.status = MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "")},
                                   {.status = absl::PermissionDeniedError("")},
                                   {.seconds = 1}},
                                  1);
  EXPECT_EQ(report.lost, 2);
  EXPECT_EQ(report.errors, (std::map<std::string, int>{{"DRAINING", 1}, {"PERMISSION_DENIED", 1}}));
  EXPECT_THAT(LoadText(report), HasSubstr("2 lost"));
}

TEST(LoadTest, RefusalsAloneAreNoFailure) {
  const absl::Status full = RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "", absl::Seconds(1));
  EXPECT_FALSE(Tally({{.status = full}, {.seconds = 1}}, 1).failed());
  EXPECT_TRUE(Tally({{.status = full}}, 1).failed()) << "none was answered";
}

TEST(LoadTest, GoodputCountsAnswersThatKeptBothTimes) {
  const std::vector<LoadResult> results = {{.seconds = 2, .first_token_seconds = 0.5},
                                           {.seconds = 3, .first_token_seconds = 0.5},
                                           {.seconds = 2, .first_token_seconds = 0.6},
                                           {.status = absl::DeadlineExceededError(""), .seconds = 1}};
  const LoadReport report = Tally(results, 10, {.slo = {.first_token_seconds = 0.5, .total_seconds = 2}});
  EXPECT_EQ(report.within_slo, 1);
  EXPECT_EQ(LoadJson(report)["goodput_per_second"], 0.1);
  EXPECT_THAT(LoadText(report), HasSubstr("goodput 0.1 answers/s: 1 of 4 requests, 25 %"));
  EXPECT_EQ(Tally(results, 10, {.slo = {.first_token_seconds = 0.5}}).within_slo, 2);
  EXPECT_FALSE(LoadJson(Tally(results, 10)).contains("goodput_per_second"));
}

TEST(LoadTest, AtARateItIsShownWhatTheClientWasLateBy) {
  const std::vector<LoadResult> results = {
      {.seconds = 1, .between_tokens = {0.1, 0.3}, .late_seconds = 0.001, .text_only = true},
      {.status = absl::DeadlineExceededError(""), .late_seconds = 0.5}};
  const LoadReport report = Tally(results, 10, {.rate = 0.2});
  const nlohmann::json json = LoadJson(report);
  EXPECT_EQ(json["late_seconds"]["max"], 0.5) << "of all, not of the answered alone";
  EXPECT_EQ(json["between_tokens_seconds"]["p99"], 0.3);
  EXPECT_EQ(json["text_only"], 1);
  EXPECT_THAT(LoadText(report), HasSubstr("asked at 0.2/s; 1 without an image"));
  EXPECT_THAT(LoadText(report), HasSubstr("asked late by"));
}

TEST(ArrivalsTest, AreAPoissonProcessOfTheRate) {
  const std::vector<Arrival> arrivals = PoissonArrivals(100'000, 20, 0.3, 5);
  double squares = 0, last = 0;
  int text_only = 0;
  for (const Arrival& arrival : arrivals) {
    const double gap = arrival.seconds - last;
    ASSERT_GE(gap, 0);
    squares += gap * gap;
    text_only += arrival.text_only ? 1 : 0;
    last = arrival.seconds;
  }
  EXPECT_NEAR(last / 100'000, 1 / 20.0, 0.001) << "the mean gap";
  EXPECT_NEAR(squares / 100'000, 2 / 400.0, 0.0002) << "its second moment: exponential gaps";
  EXPECT_NEAR(text_only / 100'000.0, 0.3, 0.01);
}

TEST(ArrivalsTest, TheSeedAloneDecides) {
  const auto seconds = [](uint64_t seed) { return PoissonArrivals(3, 1, 0.5, seed).back().seconds; };
  EXPECT_EQ(seconds(1), seconds(1));
  EXPECT_NE(seconds(1), seconds(2));
  for (const Arrival& arrival : PoissonArrivals(9, 1, 1, 1)) EXPECT_TRUE(arrival.text_only);
  for (const Arrival& arrival : PoissonArrivals(9, 1, 0, 1)) EXPECT_FALSE(arrival.text_only);
}

TEST(LoadTest, ARateLimitIsNotAFullServer) {
  const absl::Status limited =
      RetryLater(absl::StatusCode::kResourceExhausted, reason::kRateLimited, "", absl::Seconds(1));
  const LoadReport report = Tally({{.status = limited}, {.status = limited}}, 1);
  EXPECT_EQ(report.refused, 0);
  EXPECT_EQ(report.errors.at("RATE_LIMITED"), 2);
  EXPECT_THAT(LoadText(report), HasSubstr("0 refused because the server was full, 2 RATE_LIMITED (over the rate"));
}

TEST(ImageTest, PngComesBackAsItWent) {
  const Image drawn = DrawnImage(7, 40);
  const auto png = WritePng(drawn);
  ASSERT_TRUE(png.ok());
  const auto read = ReadPng(*png);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->width, 40);
  EXPECT_EQ(read->rgb, drawn.rgb);
  EXPECT_FALSE(ReadPng("no image").ok());
  EXPECT_FALSE(ReadPng(png->substr(0, png->size() / 2)).ok());
}

v1::FloatGrid Grid(int rows, int columns, std::vector<float> values) {
  v1::FloatGrid grid;
  grid.set_rows(rows);
  grid.set_columns(columns);
  for (const float value : values) grid.add_values(value);
  return grid;
}

TEST(HeatMapTest, KeepsTheImagesProportionsAndGlowsWhereTheModelLooks) {
  Image grey{.width = 28, .height = 28, .rgb = std::vector<uint8_t>(28 * 28 * 3, 128)};
  v1::ImageSize size;
  size.set_width(2000);
  size.set_height(500);
  const Image map = HeatMap(grey, Grid(2, 2, {0, 0, 0, 1}), size);
  EXPECT_EQ(map.width, 1024);
  EXPECT_EQ(map.height, 256);
  EXPECT_GT(map.At(1000, 250)[0], map.At(10, 10)[0] + 80) << "bottom right against top left";
}

TEST(HeatMapTest, AGridThatIsNoneIsRefused) {
  EXPECT_TRUE(CheckGrid(Grid(1, 2, {0, 1})).ok());
  EXPECT_FALSE(CheckGrid(Grid(1, 2, {0, 1, 2})).ok());
  EXPECT_FALSE(CheckGrid(Grid(0, 0, {})).ok());
  EXPECT_FALSE(CheckGrid(Grid(1, 1, {std::nanf("")})).ok());
  EXPECT_FALSE(CheckGrid(Grid(-1, -1, {1})).ok());
}

TEST(HeatMapTest, BlocksFollowTheValues) {
  EXPECT_EQ(BlockMap(Grid(2, 2, {0, 1, 0.5, 0.3F}), "|"), "|  ██\n|▒▒░░\n");
  EXPECT_EQ(BlockMap(Grid(1, 2, {3, 3}), ""), "    \n") << "no difference, no map";
}

TEST(RelevanceTextTest, NamesEachTokenAndItsStrongestPatch) {
  v1::Answer answer;
  answer.add_token_ids(7);
  answer.add_token_ids(8);
  answer.add_logprobs()->mutable_chosen()->set_text(" red\x1b");
  for (int i = 0; i < 2; ++i) {
    v1::TokenRelevance* token = answer.add_relevance();
    token->set_image_share(0.25);
    *token->add_images() = Grid(2, 2, {0.1F, 0, i == 0 ? 0.6F : 0, 0.2F});
  }
  const std::string text = RelevanceText(answer);
  EXPECT_THAT(text, HasSubstr("\" red?\""));
  EXPECT_THAT(text, HasSubstr("token 8"));
  EXPECT_THAT(text, HasSubstr("25 %  row 2, column 1: 60 %"));
  EXPECT_THAT(text, HasSubstr("row 2, column 2: 20 %"));
  EXPECT_THAT(text, HasSubstr("all tokens together\n  ░░  \n  ██▓▓\n"));
  EXPECT_EQ(RelevanceText(v1::Answer()), "");
}

}  // namespace
}  // namespace diptych::cli
