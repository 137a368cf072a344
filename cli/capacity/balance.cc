#include "cli/capacity/balance.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cli/capacity/birth_death.h"

namespace diptych::cli {
namespace {

constexpr double kConnectionSeconds = 8;  // --max_connection_age, after which a caller connects again
constexpr int kManyCallers = 256;         // of a replica: as good as any number
constexpr int kManyReplicas = 64;         // of a tier: what they do together is even
constexpr double kHardlyMore = 1.02;
constexpr double kUnlikely = 1e-6;

// Inside a replica, if calls go to any.
double Unbalanced(const Callers& callers, const std::function<double(int)>& ends, int least) {
  return MeanOf(BirthDeath(callers.calls_per_second, ends, least, kUnlikely));
}

// Inside each of the tier's replicas, if each call goes to one that has the fewest.
double Pooled(const Callers& callers, const std::function<double(int)>& ends, int least) {
  const int replicas = callers.replicas;
  const auto of_all = [&](int n) {
    const int each = n / replicas, more = n % replicas;
    return more * ends(each + 1) + (each > 0 ? (replicas - more) * ends(each) : 0);
  };
  return MeanOf(BirthDeath(callers.calls_per_second * replicas, of_all, least * replicas, kUnlikely)) / replicas;
}

// Inside a replica that may have so many calls of each caller as keep up with what comes.
double Bounded(const Callers& callers, const std::function<double(int)>& ends) {
  int sources = callers.callers;
  while (ends(sources) < kHardlyMore * callers.calls_per_second) sources += callers.callers;
  return MeanOf(BirthDeathOfSources(callers.calls_per_second, ends, sources));
}

// Inside from which on calls end as fast as they can, or faster than they come.
int EnoughToKeepUp(const Callers& callers, const std::function<double(int)>& ends) {
  int inside = 1;
  while (ends(inside) <= callers.calls_per_second) ++inside;
  return inside;
}

}  // namespace

// Of a run that is x rounds long, exponential with mean `rounds`, a replica gets x on average with variance
// frac(x) (1 - frac(x)), since each run begins at a random replica.
double VariationByTurns(const Callers& callers, double variation_of_all) {
  const double of_caller = callers.calls_per_second / callers.callers;  // to a replica
  const double rounds = of_caller * kConnectionSeconds / callers.replicas;
  if (rounds <= 0) return 1;
  const double of_run = 1 - 2 * rounds + 2 / std::expm1(1 / rounds);
  return of_run + (1 - of_run) * variation_of_all / callers.replicas;
}

double VariationByAffinity(const Callers& callers, const std::function<double(int)>& ends, int calls_at_ease) {
  const int least = EnoughToKeepUp(callers, ends);
  const double of_caller = Unbalanced(callers, ends, least) / callers.callers;
  const double of_sources = 1 - of_caller / std::max<double>(calls_at_ease, std::ceil(of_caller));
  return of_sources + (1 - of_sources) / callers.replicas;
}

// Many replicas: a caller sends no more than one call, or one round, to each at a time, so a replica is a queue of so
// many sources. Few: what all of them get together varies, and waits as in one queue.
double WaitsByAffinity(const Callers& callers, const std::function<double(int)>& ends) {
  if (callers.calls_per_second <= 0) return 1;
  const int least = EnoughToKeepUp(callers, ends);
  const double at_once = callers.calls_per_second / ends(1);
  const double random = Unbalanced(callers, ends, least) - at_once;
  if (random < kUnlikely) return 1;
  const auto share = [&](double inside) { return std::clamp((inside - at_once) / random, 0.0, 1.0); };
  const double bounded = callers.callers > kManyCallers ? 1 : share(Bounded(callers, ends));
  const double pooled = callers.replicas > kManyReplicas ? 0 : share(Pooled(callers, ends, least));
  return bounded + (1 - bounded) * pooled;
}

}  // namespace diptych::cli
