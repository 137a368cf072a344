// For each bucket of a histogram the last observation whose trace is recorded.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace diptych {

struct Exemplar {
  std::string trace_id;
  double value = 0;
  absl::Time at;
};

// Thread-safe.
class Exemplars {
 public:
  // `bounds`: upper ends of the buckets, rising, each part of its bucket; one without an end is added.
  explicit Exemplars(std::vector<double> bounds) : bounds_(std::move(bounds)), last_(bounds_.size() + 1) {}

  void Keep(double value, std::string_view trace_id, absl::Time now);
  // One for each bucket.
  std::vector<std::optional<Exemplar>> Last() const;

 private:
  const std::vector<double> bounds_;
  mutable Mutex mutex_;
  std::vector<std::optional<Exemplar>> last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych
