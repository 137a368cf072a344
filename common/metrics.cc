#include "common/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <utility>

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

 private:
  prometheus::Registry registry_;
  Mutex mutex_;  // one reading at a time
  std::vector<std::function<void()>> refreshes_ ABSL_GUARDED_BY(mutex_);
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
  return Histogram(&family.Add(ToLabels(labels), bounds));
}

void MetricRegistry::OnCollect(std::function<void()> refresh) {
  impl_->OnCollect(std::move(refresh));
}

std::string MetricRegistry::Exposition() const {
  return prometheus::TextSerializer().Serialize(impl_->Collect());
}

}  // namespace diptych
