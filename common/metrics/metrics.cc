#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/time/clock.h"
#include "common/metrics/exemplars.h"
#include "common/metrics/open_metrics.h"
#include "common/mutex.h"

namespace diptych {
namespace {

prometheus::Labels ToLabels(const MetricLabels& labels) {
  return prometheus::Labels(labels.begin(), labels.end());
}

}  // namespace

void Counter::Add(double amount) {
  counter_->Increment(std::max(amount, 0.0));
}

void Counter::RaiseTo(double total) {
  counter_->Increment(std::max(total - counter_->Value(), 0.0));
}

void Gauge::Set(double value) {
  gauge_->Set(value);
}

void Histogram::Observe(double value, int times) {
  for (int i = 0; i < times; ++i) histogram_->Observe(value);
}

void Histogram::ObserveTraced(double value, std::string_view trace_id) {
  histogram_->Observe(value);
  if (!trace_id.empty()) exemplars_->Keep(value, trace_id, absl::Now());
}

void Histogram::RaiseTo(std::span<const int64_t> counts, double sum) {
  const prometheus::ClientMetric::Histogram now = histogram_->Collect().histogram;
  std::vector<double> more;
  uint64_t below = 0;  // buckets hold what is below their bounds
  for (size_t i = 0; i < counts.size() && i < now.bucket.size(); ++i) {
    const uint64_t have = now.bucket[i].cumulative_count - below;
    below = now.bucket[i].cumulative_count;
    more.push_back(std::max(static_cast<double>(counts[i]) - static_cast<double>(have), 0.0));
  }
  more.resize(now.bucket.size());
  histogram_->ObserveMultiple(more, sum - now.sample_sum);
}

class MetricRegistry::Impl {
 public:
  std::vector<prometheus::MetricFamily> Collect() {
    MutexLock lock(mutex_);
    for (const auto& refresh : refreshes_) refresh();
    auto families = registry_.Collect();
    std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return families;
  }

  void OnCollect(std::function<void()> refresh) {
    MutexLock lock(mutex_);
    refreshes_.push_back(std::move(refresh));
  }

  prometheus::Registry& registry() { return registry_; }

  // Of the histogram with this name and these labels.
  Exemplars* AddExemplars(const std::string& name, const MetricLabels& labels, const std::vector<double>& bounds) {
    MutexLock lock(mutex_);
    return &exemplars_.try_emplace({name, labels}, bounds).first->second;
  }

  std::vector<std::optional<Exemplar>> ExemplarsOf(const std::string& name, const prometheus::ClientMetric& metric) {
    MetricLabels labels;
    for (const auto& label : metric.label) labels.emplace(label.name, label.value);
    MutexLock lock(mutex_);
    const auto found = exemplars_.find({name, labels});
    return found == exemplars_.end() ? std::vector<std::optional<Exemplar>>() : found->second.Last();
  }

 private:
  prometheus::Registry registry_;
  Mutex mutex_;  // one reading at a time
  std::vector<std::function<void()>> refreshes_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, MetricLabels>, Exemplars> exemplars_ ABSL_GUARDED_BY(mutex_);
};

MetricRegistry::MetricRegistry() : impl_(std::make_unique<Impl>()) {}

MetricRegistry::~MetricRegistry() = default;

Counter MetricRegistry::AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry());
  return Counter(&family.Add(ToLabels(labels)));
}

Gauge MetricRegistry::AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry());
  return Gauge(&family.Add(ToLabels(labels)));
}

Histogram MetricRegistry::AddHistogram(const std::string& name, const std::string& help,
                                       const std::vector<double>& bounds, const MetricLabels& labels) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry());
  return Histogram(&family.Add(ToLabels(labels), bounds), impl_->AddExemplars(name, labels, bounds));
}

void MetricRegistry::OnCollect(std::function<void()> refresh) {
  impl_->OnCollect(std::move(refresh));
}

MetricRegistry::Format MetricRegistry::FormatFor(std::string_view accept) {
  return accept.find("application/openmetrics-text") == accept.npos ? Format::kText : Format::kOpenMetrics;
}

const char* MetricRegistry::ContentType(Format format) {
  return format == Format::kText ? "text/plain; version=0.0.4; charset=utf-8"
                                 : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

std::string MetricRegistry::Exposition(Format format) const {
  const std::vector<prometheus::MetricFamily> families = impl_->Collect();
  if (format == Format::kText) return prometheus::TextSerializer().Serialize(families);
  return OpenMetricsText(
      families, [this](const auto& name, const auto& histogram) { return impl_->ExemplarsOf(name, histogram); });
}

}  // namespace diptych
