// A /metrics page as Prometheus would take it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace diptych::testing {

using Labels = std::map<std::string, std::string>;

struct MetricsPage {
  struct Metric {
    std::string type, help;
  };
  std::map<std::string, Metric> metrics;                     // by name, without _bucket, _sum and _count
  std::map<std::pair<std::string, Labels>, double> samples;  // by full name

  // The sample's value; NaN, which equals nothing, if it is not there.
  double Value(const std::string& name, const Labels& labels = {}) const;
  // The sum over all label values.
  double Total(const std::string& name) const;
};

// Text format 0.0.4. An error names the line: unknown form, a sample without TYPE and HELP before it, the same sample
// twice, buckets that fall or disagree with the count.
absl::StatusOr<MetricsPage> ParseMetricsPage(std::string_view text);

// GET /metrics from a server of this machine, parsed. Fails the test if that does not work.
MetricsPage Scrape(int port);

// Sends `bytes` to a server of this machine; the open connection.
int Send(int port, std::string_view bytes);
// All that comes on a connection until the peer closes it or stays silent for ten seconds. Closes it.
std::string ReadToEnd(int connection);
// Both.
std::string Exchange(int port, std::string_view bytes);

}  // namespace diptych::testing
