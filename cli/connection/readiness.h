// Why a gateway that answers is not ready.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "diptych/v1/gateway.pb.h"

namespace diptych::cli {

// The reason of a gateway that answers and does not serve.
inline constexpr std::string_view kNotServing = "NOT_SERVING";

// The error that a check of readiness ended with. A tier that is not there gets the reason NOT_SERVING, which has a
// remedy; the gateway's words stay.
absl::Status InWordsOfReadiness(const absl::Status& check);

// `health` is what a check of readiness returned, `model` what GetModel returned at the same time. The cause that
// `model` shows, with its remedy: tiers that hold different models, or a gateway that is about to end. `health` itself
// where it shows none, or where the gateway has said the cause.
absl::Status WhyNotReady(const absl::Status& health, const absl::StatusOr<v1::GetModelResponse>& model);

}  // namespace diptych::cli
