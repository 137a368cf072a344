#include "cli/capacity/vision_queue.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace diptych::cli {
namespace {

constexpr int kLongestQueue = 512;
constexpr int kMostIterations = 20'000;
constexpr double kRestOfChain = 1e-9;
constexpr double kRestOfQueue = 1e-4;
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
        {SecondsWith(load_.group, 0), idle_ * load_.group / load_.images_per_second}};
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
        AddArrivalsBehind(place, pass - elapsed, starts_[waiting] * pass / kMomentsOfAPass * before[i], cases);
      }
    }
  }

  // The image at `place` (1: the first) of a queue that is looked at again after `wait`, when others may stand behind
  // it.
  void AddArrivalsBehind(int place, double wait, double weight, std::vector<Distribution::Weighted>& cases) const {
    const int full_passes = (place - 1) / replica_.max_batch;
    const double full = full_passes * replica_.PassSeconds(replica_.max_batch);
    const double images = place - full_passes * replica_.max_batch + load_.images_per_second * full;
    const double groups = load_.images_per_second / load_.group * wait;
    double left = 1, share = std::exp(-groups);
    for (int behind = 0; left > kRestOfQueue; share *= groups / ++behind) {
      const double with = images + behind * load_.group;
      const bool is_full = with >= replica_.max_batch;  // and is with more, too
      const double part = is_full ? left : std::min(share, left);
      cases.push_back({SecondsWith(with, wait + full), weight * part});
      left -= part;
    }
  }

  // After `wait` in a pass of so many.
  double SecondsWith(double images, double wait) const {
    const double batch = std::min<double>(images, replica_.max_batch);
    return wait + replica_.PassSeconds(batch) + (batch - 1) * load_.companion_seconds;
  }

  const VisionReplica replica_;
  const VisionLoad load_;
  std::vector<std::vector<double>> groups_;  // that arrive during a pass, by its batch
  std::vector<double> starts_;
  double idle_ = 0;
};

// One at a time as they come, or, where passes of one are too slow for that, in equal passes.
Distribution EvenSeconds(const VisionReplica& replica, const VisionLoad& load) {
  const int group = std::min(load.group, replica.max_batch);
  const double alone = replica.PassSeconds(group);
  const double companions = load.companion_seconds;
  const double passes = load.images_per_second / group * alone;  // in the time of one
  if (passes <= 1) return Distribution(alone + (group - 1) * companions);
  const double pass = replica.pass_seconds / (1 - load.images_per_second * replica.image_seconds);
  return Distribution::UpTo(pass * std::min(1.0, passes - 1))
      .Plus(Distribution(pass + (load.images_per_second * pass - 1) * companions));
}

}  // namespace

double ImagesThatEnd(const VisionReplica& replica, int images) {
  const int batch = std::min(images, replica.max_batch);
  return batch / replica.PassSeconds(batch);
}

double VisionUtilization(const VisionReplica& replica, const VisionLoad& load) {
  return load.images_per_second * replica.PassSeconds(replica.max_batch) / replica.max_batch;
}

Distribution VisionSeconds(const VisionReplica& replica, const VisionLoad& load) {
  if (load.images_per_second <= 0) return Distribution(replica.PassSeconds(std::min(load.group, replica.max_batch)));
  const Distribution even = EvenSeconds(replica, load);
  return even.Toward(BatchQueue(replica, load).Seconds(), load.uneven);
}

}  // namespace diptych::cli
