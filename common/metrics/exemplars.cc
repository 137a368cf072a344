#include "common/metrics/exemplars.h"

#include <algorithm>

namespace diptych {

void Exemplars::Keep(double value, std::string_view trace_id, absl::Time now) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  MutexLock lock(mutex_);
  last_[static_cast<size_t>(bucket)] = Exemplar{.trace_id = std::string(trace_id), .value = value, .at = now};
}

std::vector<std::optional<Exemplar>> Exemplars::Last() const {
  MutexLock lock(mutex_);
  return last_;
}

}  // namespace diptych
