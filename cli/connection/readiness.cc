#include "cli/connection/readiness.h"

#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

bool HoldDifferentModels(const v1::TierStatus& one, const v1::TierStatus& other) {
  return one.serving() && other.serving() && one.model().fingerprint() != other.model().fingerprint();
}

}  // namespace

absl::Status InWordsOfReadiness(const absl::Status& check) {
  if (ReasonOf(check) != reason::kTierUnavailable) return check;
  return MakeError(absl::StatusCode::kUnavailable, kNotServing, std::string(check.message()));
}

absl::Status WhyNotReady(const absl::Status& health, const absl::StatusOr<v1::GetModelResponse>& model) {
  if (ReasonOf(health) != kNotServing || !model.ok() || model->tiers_size() != 2) return health;
  const v1::TierStatus &language = model->tiers(0), &vision = model->tiers(1);
  if (!language.serving()) return health;
  if (HoldDifferentModels(language, vision)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                     absl::StrCat("the tiers hold different models: vision ", vision.model().name(), ", language ",
                                  language.model().name()));
  }
  return WithRemedy(
      MakeError(absl::StatusCode::kUnavailable, kNotServing, "it reaches the tiers, but is being stopped"),
      "Ask another gateway, or this one again in a moment.");
}

}  // namespace diptych::cli
