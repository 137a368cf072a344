// Judges whether both tiers hold the same model, by what they say of themselves.
#pragma once

#include "absl/status/status.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// Pure. Thread-compatible.
class ModelAgreement {
 public:
  // Looks on end that have to differ: while replicas are replaced, a look may meet an old one and a new one.
  static constexpr int kLooks = 3;

  // FAILED_PRECONDITION with MODEL_MISMATCH, both names and the remedy, once the tiers have differed so often; OK from
  // the first look in which they agree, or while one of them has not said what it holds.
  absl::Status Observe(const v1::ModelDescription& language, const v1::ModelDescription& vision);

 private:
  int differing_ = 0;
};

}  // namespace diptych::gateway
