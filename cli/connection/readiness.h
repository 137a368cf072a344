// Why a gateway that answers is not ready.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"

namespace diptych::cli {

// `health` is what a check of readiness returned, `model` what GetModel returned at the same time. The cause that
// `model` shows, with its remedy: tiers that hold different models, or a gateway that is about to end. `health` itself
// where it shows none: then the language tier is not reachable.
absl::Status WhyNotReady(const absl::Status& health, const absl::StatusOr<v1::GetModelResponse>& model);

}  // namespace diptych::cli
