// The two tiers behind the gateway: how to reach them and what they say of themselves.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/replicas/replica_channels.h"
#include "common/stage_clock.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.grpc.pb.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "gateway/options.h"
#include "gateway/tiers/retry_budget.h"

namespace diptych::gateway {

struct Tiers {
  std::unique_ptr<ReplicaStubs<v1::LanguageService>> language;
  std::unique_ptr<ReplicaStubs<v1::VisionService>> vision;
  std::unique_ptr<RetryBudget> retries;
};

// Connects when first used. INVALID_ARGUMENT if a target or a TLS file is unusable.
absl::StatusOr<Tiers> OpenTiers(const Options& options);

// The report of one replica.
struct TierReport {
  v1::ModelDescription model;
  v1::TierLoad load;
};

struct TierReports {
  absl::StatusOr<TierReport> language = absl::UnknownError("");
  absl::StatusOr<TierReport> vision = absl::UnknownError("");
};

// Asks both at the same time; `done` is called once, on one of gRPC's threads, within a second.
void DescribeTiers(Tiers& tiers, std::function<void(TierReports)> done);

// The language tier's description with the vision tier's parts. UNAVAILABLE with TIER_UNAVAILABLE, telling
// the state of both, if the language tier did not answer.
absl::StatusOr<v1::GetModelResponse> MergeReports(const TierReports& reports);

}  // namespace diptych::gateway
