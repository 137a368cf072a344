#include "cli/capacity/vision_queue.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace diptych::cli {
namespace {

constexpr int kLongestQueue = 512;
constexpr int kMostIterations = 20'000;
constexpr double kRestOfChain = 1e-9;
constexpr int kMomentsOfAPass = 16;  // at which arrivals within a pass are looked at

// Probability of 0, 1, 2, … events.
std::vector<double> Poisson(double mean) {
  std::vector<double> events;
  double term = std::exp(-mean);
  for (double sum = 0; sum < 1 - kRestOfChain && events.size() < 10 * kLongestQueue; sum += events.back()) {
    events.push_back(term);
    term *= mean / static_cast<double>(events.size());
  }
  return events;
}

class BatchQueue {
 public:
  BatchQueue(const VisionReplica& replica, const VisionLoad& load) : replica_(replica), load_(load) {
    for (int batch = 0; batch <= replica.max_batch; ++batch) groups_.push_back(GroupsIn(replica.PassSeconds(batch)));
    Solve();
  }

  Distribution Seconds() const {
    std::vector<Distribution::Weighted> cases{
        {SecondsFrom(load_.group, 0), idle_ * load_.group / load_.images_per_second}};
    for (int waiting = 1; waiting <= kLongestQueue; ++waiting) {
      if (starts_[waiting] > kRestOfChain) AddArrivalsDuringPass(waiting, cases);
    }
    return Distribution::Of(std::move(cases));
  }

 private:
  std::vector<double> GroupsIn(double seconds) const {
    return Poisson(load_.images_per_second / load_.group * seconds);
  }
  int Batch(int waiting) const { return std::min(waiting, replica_.max_batch); }

  // starts_[n]: probability that n images wait when a pass starts. idle_: that none waits when one has ended.
  void Solve() {
    starts_.assign(kLongestQueue + 1, 0);
    starts_[std::min(load_.group, kLongestQueue)] = 1;
    for (int i = 0; i < kMostIterations; ++i) {
      std::vector<double> next = Next();
      double change = 0;
      for (int n = 0; n <= kLongestQueue; ++n) change += std::abs(next[n] - starts_[n]);
      starts_ = std::move(next);
      if (change < kRestOfChain) return;
    }
  }

  std::vector<double> Next() {
    std::vector<double> next(kLongestQueue + 1);
    for (int waiting = 1; waiting <= kLongestQueue; ++waiting) {
      const std::vector<double>& groups = groups_[Batch(waiting)];
      for (size_t i = 0; i < groups.size(); ++i) {
        const int left = waiting - Batch(waiting) + static_cast<int>(i) * load_.group;
        next[std::min(left, kLongestQueue)] += starts_[waiting] * groups[i];
      }
    }
    idle_ = next[0];
    next[std::min(load_.group, kLongestQueue)] += std::exchange(next[0], 0);  // the pass waits for the next group
    return next;
  }

  void AddArrivalsDuringPass(int waiting, std::vector<Distribution::Weighted>& cases) const {
    const double pass = replica_.PassSeconds(Batch(waiting));
    for (int moment = 0; moment < kMomentsOfAPass; ++moment) {
      const double elapsed = pass * (moment + 0.5) / kMomentsOfAPass;
      const std::vector<double> before = GroupsIn(elapsed);
      for (size_t i = 0; i < before.size(); ++i) {
        const int place = waiting - Batch(waiting) + static_cast<int>(i + 1) * load_.group;
        cases.push_back({SecondsFrom(place, pass - elapsed), starts_[waiting] * pass / kMomentsOfAPass * before[i]});
      }
    }
  }

  // To the end of its pass, for the image at `place` (1: the first) of a queue that is looked at again after `wait`.
  double SecondsFrom(int place, double wait) const {
    const int full_passes = (place - 1) / replica_.max_batch;
    wait += full_passes * replica_.PassSeconds(replica_.max_batch);
    const double images = place - full_passes * replica_.max_batch + load_.images_per_second * wait;
    return wait + replica_.PassSeconds(std::min<double>(images, replica_.max_batch));
  }

  const VisionReplica replica_;
  const VisionLoad load_;
  std::vector<std::vector<double>> groups_;  // that arrive during a pass, by its batch
  std::vector<double> starts_;
  double idle_ = 0;
};

}  // namespace

double VisionUtilization(const VisionReplica& replica, const VisionLoad& load) {
  return load.images_per_second * replica.PassSeconds(replica.max_batch) / replica.max_batch;
}

Distribution VisionSeconds(const VisionReplica& replica, const VisionLoad& load) {
  const double alone = replica.PassSeconds(std::min(load.group, replica.max_batch));
  if (load.images_per_second <= 0) return Distribution(alone);
  return BatchQueue(replica, load).Seconds().Stretched(alone, load.variation);
}

}  // namespace diptych::cli
