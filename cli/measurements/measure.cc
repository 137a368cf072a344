#include "cli/measurements/measure.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace diptych::cli {

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<ptrdiff_t>(std::clamp<size_t>(rank, 1, values.size()) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 0 && middle > 0) return (values[middle - 1] + values[middle]) / 2;
  return Percentile(std::move(values), 0.5);
}

}  // namespace diptych::cli
