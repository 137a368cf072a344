#include "cli/capacity/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace diptych::cli {
namespace {

constexpr int kParts = 128;

}  // namespace

Distribution::Distribution(double seconds) : parts_(kParts, seconds) {}

// Fills part after part, so that the mean stays what it was.
Distribution Distribution::Of(std::vector<Weighted> samples) {
  std::erase_if(samples, [](const Weighted& sample) { return sample.weight <= 0; });
  std::sort(samples.begin(), samples.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  const double all = std::accumulate(samples.begin(), samples.end(), 0.0,
                                     [](double sum, const Weighted& sample) { return sum + sample.weight; });
  Distribution made;
  auto sample = samples.begin();
  for (double& part : made.parts_) {
    double room = all / kParts;
    for (; sample + 1 != samples.end() && sample->weight <= room; ++sample) {
      part += sample->weight * sample->seconds;
      room -= sample->weight;
    }
    part = (part + room * sample->seconds) * kParts / all;
    sample->weight -= room;
  }
  return made;
}

Distribution Distribution::Mixed(const std::vector<std::pair<double, Distribution>>& parts) {
  std::vector<Weighted> samples;
  for (const auto& [weight, distribution] : parts) {
    for (const double seconds : distribution.parts_) samples.push_back({seconds, weight});
  }
  return Of(std::move(samples));
}

Distribution Distribution::UpTo(double seconds) {
  Distribution made;
  for (int i = 0; i < kParts; ++i) made.parts_[i] = seconds * (i + 0.5) / kParts;
  return made;
}

double Distribution::Mean() const {
  return std::accumulate(parts_.begin(), parts_.end(), 0.0) / kParts;
}

double Distribution::Quantile(double share) const {
  return parts_[std::clamp(static_cast<int>(share * kParts), 0, kParts - 1)];
}

Distribution Distribution::Plus(const Distribution& other) const {
  std::vector<Weighted> sums;
  for (const double mine : parts_) {
    for (const double theirs : other.parts_) sums.push_back({mine + theirs, 1});
  }
  return Of(std::move(sums));
}

Distribution Distribution::Stretched(double fixed, double factor) const {
  Distribution made = *this;
  for (double& part : made.parts_) part = fixed + factor * (part - fixed);
  return made;
}

Distribution Distribution::Toward(const Distribution& other, double share) const {
  Distribution made = *this;
  for (int i = 0; i < kParts; ++i) made.parts_[i] += share * (other.parts_[i] - parts_[i]);
  return made;
}

Distribution Distribution::SlowestOf(int count) const {
  if (count == 0) return Distribution();
  Distribution made;
  for (int i = 0; i < kParts; ++i) made.parts_[i] = Quantile(std::pow((i + 0.5) / kParts, 1.0 / count));
  return made;
}

}  // namespace diptych::cli
