// Figures of several measurements.
#pragma once

#include <vector>

namespace diptych::cli {

// The value that `share` of all are at most: nearest rank, share in (0, 1]. NaN of none.
double Percentile(std::vector<double> values, double share);

// The middle value; of an even number the mean of the middle two. NaN of none.
double Median(std::vector<double> values);

}  // namespace diptych::cli
