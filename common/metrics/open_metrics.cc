#include "common/metrics/open_metrics.h"

#include <cmath>
#include <span>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace diptych {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// The shortest text that reads back as the same number, a float by its look: "1.0", "0.005", "+Inf".
std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::string text = absl::StrFormat("%.17g", value);
  for (int digits = 1; digits < 17; ++digits) {
    const std::string shorter = absl::StrFormat("%.*g", digits, value);
    if (std::stod(shorter) != value) continue;
    text = shorter;
    break;
  }
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}});
}

// {a="b",le="1.0"}, or nothing. An empty `bound`: no "le".
std::string Labels(const std::vector<ClientMetric::Label>& labels, const std::string& bound = "") {
  std::vector<std::string> parts;
  for (const auto& label : labels) parts.push_back(absl::StrCat(label.name, "=\"", Escaped(label.value), "\""));
  if (!bound.empty()) parts.push_back(absl::StrCat("le=\"", bound, "\""));
  return parts.empty() ? "" : absl::StrCat("{", absl::StrJoin(parts, ","), "}");
}

std::string Sample(const std::string& name, const std::string& labels, const std::string& value) {
  return absl::StrCat(name, labels, " ", value);
}

std::string Mark(const std::optional<Exemplar>& exemplar) {
  if (!exemplar) return "";
  return absl::StrFormat(" # {trace_id=\"%s\"} %s %.3f", exemplar->trace_id, Number(exemplar->value),
                         absl::ToDoubleSeconds(exemplar->at - absl::UnixEpoch()));
}

void AddHistogram(std::string& page, const std::string& name, const ClientMetric& metric,
                  std::span<const std::optional<Exemplar>> exemplars) {
  const ClientMetric::Histogram& histogram = metric.histogram;
  for (size_t i = 0; i < histogram.bucket.size(); ++i) {
    const auto& bucket = histogram.bucket[i];
    absl::StrAppend(&page,
                    Sample(name + "_bucket", Labels(metric.label, Number(bucket.upper_bound)),
                           absl::StrCat(bucket.cumulative_count)),
                    i < exemplars.size() ? Mark(exemplars[i]) : "", "\n");
  }
  const std::string labels = Labels(metric.label);
  absl::StrAppend(&page, Sample(name + "_count", labels, absl::StrCat(histogram.sample_count)), "\n",
                  Sample(name + "_sum", labels, Number(histogram.sample_sum)), "\n");
}

std::string_view TypeOf(const MetricFamily& family) {
  if (family.type == MetricType::Histogram) return "histogram";
  if (family.type == MetricType::Counter && absl::EndsWith(family.name, "_total")) return "counter";
  return family.type == MetricType::Gauge ? "gauge" : "unknown";
}

void AddFamily(std::string& page, const MetricFamily& family, const ExemplarsOf& exemplars) {
  const std::string_view type = TypeOf(family);
  const std::string name = type == "counter" ? std::string(absl::StripSuffix(family.name, "_total")) : family.name;
  absl::StrAppend(&page, "# TYPE ", name, " ", std::string(type), "\n# HELP ", name, " ", Escaped(family.help), "\n");
  for (const ClientMetric& metric : family.metric) {
    if (family.type == MetricType::Histogram) {
      AddHistogram(page, family.name, metric, exemplars(family.name, metric));
    } else {
      const double value = family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value;
      absl::StrAppend(&page, Sample(family.name, Labels(metric.label), Number(value)), "\n");
    }
  }
}

}  // namespace

std::string OpenMetricsText(const std::vector<MetricFamily>& families, const ExemplarsOf& exemplars) {
  std::string page;
  for (const MetricFamily& family : families) AddFamily(page, family, exemplars);
  return page + "# EOF\n";
}

}  // namespace diptych
