// How evenly callers spread their calls over the replicas of a tier.
#pragma once

#include <functional>

namespace diptych::cli {

struct Callers {
  int replicas = 1;             // of the tier that is called
  int callers = 1;              // each knows its own calls only
  double calls_per_second = 0;  // that one replica gets
};

// Calls that go by turns (gRPC's round_robin): how much the number that a replica gets in a time varies, as variance by
// mean; 1: as calls at random moments do. `variation_of_all`: of what all replicas get together.
double VariationByTurns(const Callers& callers, double variation_of_all);

// Calls that go by affinity (common/replicas/replica_affinity.h), each to any replica that has no more than its part of
// the caller's calls. `ends(n)`: calls a second that end while n are inside a replica.

// The same of these calls. `calls_at_ease`: that each caller may always have.
double VariationByAffinity(const Callers& callers, const std::function<double(int)>& ends, int calls_at_ease);
// The calls' wait as a share of their wait under random choice; 0 to 1.
double WaitsByAffinity(const Callers& callers, const std::function<double(int)>& ends);

}  // namespace diptych::cli
