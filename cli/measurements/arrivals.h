// When the questions of an open-loop load are asked, and which they are.
#pragma once

#include <cstdint>
#include <vector>

namespace diptych::cli {

// A question of an open-loop load: asked when its time has come, however many are still being answered.
struct Arrival {
  double seconds = 0;      // from the start
  bool text_only = false;  // without an image
};

// A Poisson process with `rate` arrivals a second on average, each text only with probability `text_share` (0 to 1).
// The same seed gives the same on every machine. Requires: rate > 0.
std::vector<Arrival> PoissonArrivals(int count, double rate, double text_share, uint64_t seed);

}  // namespace diptych::cli
