// Checks the tiers' statements about answers and models before anything is computed with them.
#pragma once

#include "absl/status/status.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.pb.h"

namespace diptych::gateway {

// INTERNAL with TIER_PROTOCOL for counts that are negative or beyond every window. Times that are negative or longer
// than a day become the nearest that is not, so that no sum of them overflows.
absl::Status CheckClaims(v1::GenerateResponse& message);

// INTERNAL with TIER_PROTOCOL for sizes and counts that no model has.
absl::Status CheckClaims(const v1::ModelDescription& model);
absl::Status CheckClaims(const v1::CountTokensResponse& counts);

}  // namespace diptych::gateway
