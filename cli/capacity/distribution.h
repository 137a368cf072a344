// How long something takes: a distribution held as the means of equally likely parts.
#pragma once

#include <utility>
#include <vector>

namespace diptych::cli {

// Of seconds, none negative. A value.
class Distribution {
 public:
  struct Weighted {
    double seconds, weight;
  };

  explicit Distribution(double seconds = 0);
  // Requires a weight above 0. Weights need not add up to 1.
  static Distribution Of(std::vector<Weighted> samples);
  // One of them is drawn, each by its weight. Requires a weight above 0.
  static Distribution Mixed(const std::vector<std::pair<double, Distribution>>& parts);
  // Anything from 0 to `seconds`.
  static Distribution UpTo(double seconds);

  double Mean() const;
  // Which `share` of all cases does not exceed; 0 <= share < 1.
  double Quantile(double share) const;
  // Both one after the other, independent of each other.
  Distribution Plus(const Distribution& other) const;
  // With what lies beyond `fixed` seconds multiplied; nothing lies below.
  Distribution Stretched(double fixed, double factor) const;
  // With each quantile so far on its way to the other's: 0 is this one, 1 the other.
  Distribution Toward(const Distribution& other, double share) const;
  // Until the last of `count` that run independently has ended.
  Distribution SlowestOf(int count) const;

 private:
  std::vector<double> parts_;  // ascending
};

}  // namespace diptych::cli
