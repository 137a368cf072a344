// A process's metrics, in the form that Prometheus reads. prometheus-cpp stays behind this
// header.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace diptych {

class Exemplars;

// Names and values are fixed when a metric is added: each value is one of a set that is known at start. Nothing that a
// caller of the service can choose may become one.
using MetricLabels = std::map<std::string, std::string>;

// The three kinds. Handles: cheap to copy, thread-safe, valid as long as their MetricRegistry.
class Counter {
 public:
  explicit Counter(prometheus::Counter* counter) : counter_(counter) {}
  // A negative amount counts as 0.
  void Add(double amount = 1);
  // For a total that is kept elsewhere. A smaller one leaves the counter as it is. Only in OnCollect functions.
  void RaiseTo(double total);

 private:
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  explicit Gauge(prometheus::Gauge* gauge) : gauge_(gauge) {}
  void Set(double value);

 private:
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  Histogram(prometheus::Histogram* histogram, Exemplars* exemplars) : histogram_(histogram), exemplars_(exemplars) {}
  void Observe(double value, int times = 1);
  // Of a request: `trace_id`, 32 hexadecimal digits, where its trace is recorded, becomes the exemplar of its bucket.
  void ObserveTraced(double value, std::string_view trace_id);
  // For observations that are counted elsewhere: how many in each bucket, the one without an end included, and their
  // sum. Only in OnCollect functions.
  void RaiseTo(std::span<const int64_t> counts, double sum);

 private:
  prometheus::Histogram* histogram_;
  Exemplars* exemplars_;
};

// Thread-safe.
class MetricRegistry {
 public:
  MetricRegistry();
  ~MetricRegistry();
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;

  // Names and labels in Prometheus' own form: base units, counters end in _total. The same name with other label values
  // is another series of one metric; the same name and labels give the same handle again.
  Counter AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Gauge AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  // `bounds`: upper ends of the buckets, rising; one without an end is added.
  Histogram AddHistogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                         const MetricLabels& labels = {});

  // `refresh` runs before each reading, one reading at a time: the place to set what is only worth knowing then. What
  // it uses must outlive the last MetricsServer and the last call of Exposition.
  void OnCollect(std::function<void()> refresh);

  enum class Format { kText, kOpenMetrics };
  // The one that a scraper's Accept header asks for.
  static Format FormatFor(std::string_view accept);
  static const char* ContentType(Format format);

  // All metrics, in Prometheus' text format 0.0.4 or in OpenMetrics 1.0.0, which has exemplars.
  std::string Exposition(Format format = Format::kText) const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace diptych
