// The figure that benchmarks print of several.
#pragma once

#include <algorithm>
#include <vector>

// Of an even number of values the upper one. Requires: not empty.
inline double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}
