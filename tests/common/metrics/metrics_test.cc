#include "common/metrics/metrics.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/time/clock.h"
#include "tests/testing/metrics_page.h"

namespace diptych {
namespace {

testing::MetricsPage Page(const MetricRegistry& registry) {
  const auto page = testing::ParseMetricsPage(registry.Exposition());
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *page : testing::MetricsPage();
}

TEST(MetricRegistryTest, ShowsTypeHelpAndValueOfEachKind) {
  MetricRegistry registry;
  registry.AddCounter("calls_total", "Calls.").Add(3);
  registry.AddGauge("queue", "Waiting.", {{"tier", "vision"}}).Set(-2.5);
  registry.AddHistogram("wait_seconds", "Waited.", {0.1, 1}).Observe(0.5, 4);
  const auto page = Page(registry);
  EXPECT_EQ(page.metrics.at("calls_total").type, "counter");
  EXPECT_EQ(page.metrics.at("queue").type, "gauge");
  EXPECT_EQ(page.metrics.at("wait_seconds").type, "histogram");
  EXPECT_EQ(page.metrics.at("wait_seconds").help, "Waited.");
  EXPECT_EQ(page.Value("calls_total"), 3);
  EXPECT_EQ(page.Value("queue", {{"tier", "vision"}}), -2.5);
  EXPECT_EQ(page.Value("wait_seconds_bucket", {{"le", "0.1"}}), 0);
  EXPECT_EQ(page.Value("wait_seconds_bucket", {{"le", "1"}}), 4);
  EXPECT_EQ(page.Value("wait_seconds_count"), 4);
  EXPECT_EQ(page.Value("wait_seconds_sum"), 2);
}

TEST(MetricRegistryTest, LabelValuesAreEscaped) {
  MetricRegistry registry;
  const std::string nasty = "a\"b\\c\nd} 7";
  registry.AddGauge("model", "Served.", {{"name", nasty}}).Set(1);
  EXPECT_EQ(Page(registry).Value("model", {{"name", nasty}}), 1);
}

// As the page of OpenMetrics 1.0.0 must be, letter by letter; the exemplar's time apart.
TEST(MetricRegistryTest, ShowsOpenMetricsWithTheLastTraceOfEachBucket) {
  MetricRegistry registry;
  registry.AddCounter("calls_total", "All \"calls\".", {{"name", "a\"b\\c\nd"}}).Add(3);
  registry.AddGauge("queue", "Waiting.").Set(-2.5);
  Histogram wait = registry.AddHistogram("wait_seconds", "Waited.", {0.1, 1}, {{"stage", "vit"}});
  const std::string first(32, '1'), second(32, '2');
  wait.ObserveTraced(0.25, first);
  wait.ObserveTraced(1, second);
  wait.ObserveTraced(0.05, "");
  std::string page = registry.Exposition(MetricRegistry::Format::kOpenMetrics);
  const size_t mark = page.find(" # {");
  ASSERT_NE(mark, page.npos) << page;
  const size_t time = page.find(' ', page.find("} ", mark) + 2), end = page.find('\n', mark);
  EXPECT_NEAR(std::stod(page.substr(time, end - time)), absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 60);
  page.erase(time, end - time);
  EXPECT_EQ(page,
            "# TYPE calls counter\n"
            "# HELP calls All \\\"calls\\\".\n"
            "calls_total{name=\"a\\\"b\\\\c\\nd\"} 3.0\n"
            "# TYPE queue gauge\n"
            "# HELP queue Waiting.\n"
            "queue -2.5\n"
            "# TYPE wait_seconds histogram\n"
            "# HELP wait_seconds Waited.\n"
            "wait_seconds_bucket{stage=\"vit\",le=\"0.1\"} 1\n"
            "wait_seconds_bucket{stage=\"vit\",le=\"1.0\"} 3 # {trace_id=\"" +
                second +
                "\"} 1.0\n"
                "wait_seconds_bucket{stage=\"vit\",le=\"+Inf\"} 3\n"
                "wait_seconds_count{stage=\"vit\"} 3\n"
                "wait_seconds_sum{stage=\"vit\"} 1.3\n"
                "# EOF\n");
}

TEST(MetricRegistryTest, AScraperGetsTheFormatThatItAsksFor) {
  using Format = MetricRegistry::Format;
  EXPECT_EQ(MetricRegistry::FormatFor(""), Format::kText);
  EXPECT_EQ(MetricRegistry::FormatFor("text/html,*/*;q=0.8"), Format::kText);
  EXPECT_EQ(MetricRegistry::FormatFor("application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"),
            Format::kOpenMetrics);
}

TEST(MetricRegistryTest, CountersNeverFall) {
  MetricRegistry registry;
  Counter counter = registry.AddCounter("calls_total", "Calls.");
  counter.RaiseTo(7);
  counter.RaiseTo(5);
  counter.Add(-1);
  EXPECT_EQ(Page(registry).Value("calls_total"), 7);
}

TEST(MetricRegistryTest, TheSameMetricAddedAgainIsTheSame) {
  MetricRegistry registry;
  registry.AddCounter("calls_total", "Calls.").Add();
  registry.AddCounter("calls_total", "Calls.").Add();
  EXPECT_EQ(Page(registry).Value("calls_total"), 2);
}

TEST(MetricRegistryTest, RefreshesBeforeEachReading) {
  MetricRegistry registry;
  int waiting = 0;
  registry.OnCollect([&waiting, gauge = registry.AddGauge("waiting", "Now.")]() mutable { gauge.Set(++waiting); });
  EXPECT_EQ(Page(registry).Value("waiting"), 1);
  EXPECT_EQ(Page(registry).Value("waiting"), 2);
}

}  // namespace
}  // namespace diptych
