// How many replicas of each tier a load needs, and how long callers then wait.
#pragma once

#include "absl/status/statusor.h"
#include "cli/capacity/distribution.h"
#include "cli/capacity/language_queue.h"
#include "cli/capacity/vision_queue.h"

namespace diptych::cli {

// Questions that arrive at random moments, independent of each other.
struct Workload {
  double questions_per_second = 1;
  int images = 1;         // of a question that has any
  double text_share = 0;  // of questions: those without an image
  double hit_rate = 0;    // of images: those whose query tokens the language tier holds
  double text_tokens = 12;
  double query_tokens = 32;  // of an image
  int gateways = 2;
  bool by_affinity = true;      // callers choose replicas so (common/replicas/replica_affinity.h), else by turns
  double new_tokens = 32;       // mean
  double length_variation = 0;  // of answers: standard deviation divided by mean, 0 to 1
};

// What 95 of 100 questions shall not exceed, in seconds; 0: no matter.
struct Targets {
  double first_token_p95 = 0, answer_p95 = 0;
  double utilization = 0.8;  // of either tier
};

// A replica of each tier and what it costs.
struct Hardware {
  VisionReplica vision;
  LanguageReplica language;
  double other_seconds = 0;                               // of a question: gateway, transport, decoding of images
  double vision_units = 0, language_units = 0;            // cores or GPUs of a replica
  double vision_unit_price = 0, language_unit_price = 0;  // of an hour
};

struct Replicas {
  int vision = 0, language = 0;
};

struct CapacityPlan {
  Replicas replicas;
  double vision_utilization = 0, language_utilization = 0;
  Distribution vision, first_token, answer;  // vision: of one image
  double price_per_hour = 0, price_per_1000 = 0;
};

// Replicas of each tier that `capacity` alone asks for.
Replicas FewestReplicas(const Workload& workload, const Hardware& hardware, double utilization);

// The times of a given number of replicas. RESOURCE_EXHAUSTED if they cannot answer as fast as questions come.
absl::StatusOr<CapacityPlan> Judge(const Workload& workload, const Hardware& hardware, const Replicas& replicas);

// The cheapest plan that keeps the targets; of equally cheap ones that with fewer vision replicas. RESOURCE_EXHAUSTED
// with what an idle deployment takes if no number of replicas keeps them, or it needs more than kMostReplicas of a
// tier.
absl::StatusOr<CapacityPlan> PlanFor(const Workload& workload, const Hardware& hardware, const Targets& targets);

inline constexpr int kMostReplicas = 10'000;
inline constexpr double kMostUtilization = 0.98;  // beyond it no answer is worth giving

}  // namespace diptych::cli
