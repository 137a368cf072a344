#include "cli/measurements/arrivals.h"

#include <cmath>
#include <random>

namespace diptych::cli {
namespace {

// In [0, 1). The standard's distributions differ from library to library.
double Uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

}  // namespace

std::vector<Arrival> PoissonArrivals(int count, double rate, double text_share, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Arrival> arrivals(count);
  double now = 0;
  for (Arrival& arrival : arrivals) {
    arrival.seconds = now += -std::log1p(-Uniform(random)) / rate;
    arrival.text_only = Uniform(random) < text_share;
  }
  return arrivals;
}

}  // namespace diptych::cli
