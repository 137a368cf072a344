#include "gateway/tiers/model_agreement.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

std::string Named(const v1::ModelDescription& model) {
  return absl::StrCat(model.name(), " (", model.fingerprint().substr(0, 12), ")");
}

bool Differ(const v1::ModelDescription& language, const v1::ModelDescription& vision) {
  return !language.fingerprint().empty() && !vision.fingerprint().empty() &&
         language.fingerprint() != vision.fingerprint();
}

}  // namespace

absl::Status ModelAgreement::Observe(const v1::ModelDescription& language, const v1::ModelDescription& vision) {
  differing_ = Differ(language, vision) ? differing_ + 1 : 0;
  if (differing_ < kLooks) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                   absl::StrCat("the tiers hold different models: vision ", Named(vision), ", language ",
                                Named(language), ". Start both with the same --model"));
}

}  // namespace diptych::gateway
