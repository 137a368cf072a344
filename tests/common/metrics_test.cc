#include "common/metrics.h"

#include <gtest/gtest.h>

#include <string>

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
