// replica_affinity [SECONDS_OF_A_MISS SECONDS_OF_A_HIT]: what affinity brings and costs, by simulation of the decision
// itself (common/replicas/replica_affinity.h), with fixed seeds. Replicas that answer one question after another and
// remember 500 images each, least recently used first out; two callers that know only their own calls. A question takes
// 1 s if its image is remembered by nobody there and 0.35 s if it is, unless told otherwise. Printed for each mix and
// number of replicas: the share of hits, the busiest replica's share of all questions against the mean, and how long a
// question takes, by round robin, by affinity without the bound and with it.
#include "common/replicas/replica_affinity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/containers/lru_cache.h"

namespace {

using namespace diptych;  // NOLINT

constexpr int kCallers = 2;
constexpr int kImages = 20'000;
constexpr int64_t kRemembered = 500;
constexpr int kQuestions = 60'000;
constexpr int kWarmUp = 10'000;  // of them

enum class Policy { kRoundRobin, kUnbounded, kBounded };

struct Mix {
  const char* name;
  double load;  // questions a replica in the time of a miss
  double hot;   // share of the questions that is about one image
};

struct Costs {
  double miss = 1, hit = 0.35;
};

struct Outcome {
  double hits = 0;     // share
  double busiest = 0;  // of the mean
  double mean = 0, p95 = 0;
};

// Popularity of images: a Zipf distribution with exponent 0.9, and one that is hot.
class Images {
 public:
  explicit Images(double hot) : hot_(hot) {
    for (int i = 0; i < kImages; ++i) shares_.push_back((i > 0 ? shares_.back() : 0) + std::pow(i + 1, -0.9));
  }
  int Next(std::mt19937_64& random) const {
    std::uniform_real_distribution<double> share;
    if (share(random) < hot_) return 0;
    const auto found = std::lower_bound(shares_.begin(), shares_.end(), share(random) * shares_.back());
    return static_cast<int>(found - shares_.begin());
  }

 private:
  const double hot_;
  std::vector<double> shares_;  // cumulated
};

class Tier {
 public:
  Tier(int replicas, Policy policy, Costs costs) : policy_(policy), costs_(costs), asked_(replicas) {
    for (int i = 0; i < replicas; ++i) {
      replicas_.push_back(std::make_unique<Replica>());
      for (auto& caller : callers_) caller.push_back({.address = AffinityKeyOf({absl::StrCat("ipv4:10.0.0.", i)})});
    }
  }

  // The time of a question that arrives at `now`; whether its image was cached.
  std::pair<double, bool> Ask(double now, int caller, int image) {
    EndCalls(now);
    const size_t chosen = Choose(caller, image);
    Replica& replica = *replicas_[chosen];
    const bool is_hit = replica.cache.Get(absl::StrCat(image));
    replica.cache.Put(absl::StrCat(image), true, /*bytes=*/1);
    replica.free_at = std::max(now, replica.free_at) + (is_hit ? costs_.hit : costs_.miss);
    ++callers_[caller][chosen].calls;
    ends_.push({replica.free_at, caller, chosen});
    ++asked_[chosen];
    return {replica.free_at - now, is_hit};
  }

  double Busiest() const {
    double all = 0;
    for (const int asked : asked_) all += asked;
    return *std::max_element(asked_.begin(), asked_.end()) * static_cast<double>(asked_.size()) / all;
  }

 private:
  struct Replica {
    LruCache<bool> cache{kRemembered};
    double free_at = 0;
  };
  struct End {
    double at;
    int caller;
    size_t replica;
    bool operator<(const End& other) const { return at > other.at; }
  };

  void EndCalls(double now) {
    for (; !ends_.empty() && ends_.top().at <= now; ends_.pop())
      --callers_[ends_.top().caller][ends_.top().replica].calls;
  }

  size_t Choose(int caller, int image) {
    if (policy_ == Policy::kRoundRobin) return next_[caller]++ % replicas_.size();
    const AffinityKey key = AffinityKeyOf({absl::StrCat(image)});
    if (policy_ == Policy::kBounded) return ChooseReplica(key, callers_[caller], /*calls_at_ease=*/1);
    std::vector<ReplicaLoad> idle = callers_[caller];
    for (ReplicaLoad& replica : idle) replica.calls = 0;
    return ChooseReplica(key, idle, /*calls_at_ease=*/1);
  }

  const Policy policy_;
  const Costs costs_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::array<std::vector<ReplicaLoad>, kCallers> callers_;
  std::array<size_t, kCallers> next_ = {0, 1};
  std::priority_queue<End> ends_;
  std::vector<int> asked_;
};

Outcome Simulate(const Mix& mix, int replicas, Policy policy, Costs costs) {
  std::mt19937_64 random(7);
  std::exponential_distribution<double> pause(mix.load * replicas / costs.miss);
  const Images images(mix.hot);
  Tier tier(replicas, policy, costs);
  Outcome outcome;
  std::vector<double> times;
  double now = 0;
  for (int i = 0; i < kQuestions; ++i) {
    now += pause(random);
    const int image = images.Next(random);
    const auto [took, is_hit] = tier.Ask(now, static_cast<int>(random() % kCallers), image);
    if (i < kWarmUp) continue;
    times.push_back(took);
    outcome.mean += took / (kQuestions - kWarmUp);
    outcome.hits += is_hit ? 1.0 / (kQuestions - kWarmUp) : 0;
  }
  const auto p95 = times.begin() + static_cast<int64_t>(times.size() * 95 / 100);
  std::nth_element(times.begin(), p95, times.end());
  outcome.p95 = *p95;
  outcome.busiest = tier.Busiest();
  return outcome;
}

void PrintRow(const Mix& mix, int replicas, Costs costs) {
  std::printf("| %s | %d |", mix.name, replicas);
  for (const Policy policy : {Policy::kRoundRobin, Policy::kUnbounded, Policy::kBounded}) {
    const Outcome outcome = Simulate(mix, replicas, policy, costs);
    std::printf(" %.0f %%, %.2f | %.2f, %.2f s |", 100 * outcome.hits, outcome.busiest, outcome.mean, outcome.p95);
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  Costs costs;
  if (argc == 3) costs = {.miss = std::atof(argv[1]), .hit = std::atof(argv[2])};
  if ((argc != 1 && argc != 3) || !(costs.hit > 0) || costs.miss < costs.hit) {
    std::fprintf(stderr, "replica_affinity [SECONDS_OF_A_MISS SECONDS_OF_A_HIT]: each above 0, a hit no longer\n");
    return 2;
  }
  std::printf("| mix | replicas | round robin: hits, busiest | mean, p95 | affinity, no bound | | affinity | |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const Mix& mix : {Mix{"calm", 0.4, 0}, Mix{"busy", 0.8, 0}, Mix{"busy, one hot image", 0.8, 0.3}}) {
    for (const int replicas : {2, 4, 8, 16}) PrintRow(mix, replicas, costs);
  }
}
