// Queues whose rates depend on how many are inside.
#pragma once

#include <functional>
#include <vector>

namespace diptych::cli {

// Probability of 0, 1, 2, … in a system where they arrive at random moments, `arrivals` a second, and leave at
// `departures(n)` a second while there are n. Ends where the rest is below `negligible` and n above `least`. Requires
// that more leave than arrive for every n >= `least`.
std::vector<double> BirthDeath(double arrivals, const std::function<double(int)>& departures, int least,
                               double negligible = 1e-9);

// The same where each of so many sources has one inside at most, and those that have none bring one at random moments,
// so often that `arrivals` come in a second. Requires departures(sources) > arrivals.
std::vector<double> BirthDeathOfSources(double arrivals, const std::function<double(int)>& departures, int sources);

double MeanOf(const std::vector<double>& probabilities);

}  // namespace diptych::cli
