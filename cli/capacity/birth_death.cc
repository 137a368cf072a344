#include "cli/capacity/birth_death.h"

#include <cstddef>

namespace diptych::cli {
namespace {

constexpr int kBisections = 60;

void Normalize(std::vector<double>& probabilities, double sum) {
  for (double& probability : probabilities) probability /= sum;
}

std::vector<double> WithSources(double per_source, const std::function<double(int)>& departures, int sources) {
  std::vector<double> inside{1};
  double sum = 1;
  for (int n = 1; n <= sources; ++n) {
    inside.push_back(inside.back() * per_source * (sources - n + 1) / departures(n));
    sum += inside.back();
  }
  Normalize(inside, sum);
  return inside;
}

double Ended(const std::vector<double>& inside, const std::function<double(int)>& departures) {
  double ended = 0;
  for (size_t n = 1; n < inside.size(); ++n) ended += inside[n] * departures(static_cast<int>(n));
  return ended;
}

}  // namespace

std::vector<double> BirthDeath(double arrivals, const std::function<double(int)>& departures, int least,
                               double negligible) {
  std::vector<double> inside{1};
  double sum = 1;
  for (int n = 1; n <= least || inside.back() > negligible * sum; ++n) {
    inside.push_back(inside.back() * arrivals / departures(n));
    sum += inside.back();
  }
  Normalize(inside, sum);
  return inside;
}

std::vector<double> BirthDeathOfSources(double arrivals, const std::function<double(int)>& departures, int sources) {
  double most = arrivals / sources;
  while (Ended(WithSources(most, departures, sources), departures) < arrivals) most *= 2;
  double least = 0;
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (least + most) / 2;
    (Ended(WithSources(middle, departures, sources), departures) < arrivals ? least : most) = middle;
  }
  return WithSources(most, departures, sources);
}

double MeanOf(const std::vector<double>& probabilities) {
  double mean = 0;
  for (size_t n = 1; n < probabilities.size(); ++n) mean += static_cast<double>(n) * probabilities[n];
  return mean;
}

}  // namespace diptych::cli
