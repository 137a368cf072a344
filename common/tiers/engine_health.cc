#include "common/tiers/engine_health.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych {

bool EngineHealth::Judge(const absl::Status& pass) {
  if (IsDeviceLost(pass)) {
    device_lost_ = true;
    return false;
  }
  failures_ = pass.ok() ? 0 : failures_ + 1;
  return failures_ >= kFailuresBeforeTrial;
}

void EngineHealth::Tried(bool sound) {
  failures_ = 0;
  if (!sound) failed_ = true;
}

absl::Status EngineHealth::Check(SteadyTime now) const {
  if (device_lost_) return absl::UnavailableError("the device failed; the errors before this line say how");
  if (failed_) {
    return absl::UnavailableError(
        absl::StrCat("the engine failed ", kFailuresBeforeTrial, " times in a row, and on its own test input"));
  }
  const SteadyTime begin = begin_;
  if (begin == SteadyTime{} || now - begin <= longest_pass_) return absl::OkStatus();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - begin).count();
  return absl::UnavailableError(absl::StrCat("a pass of the engine has not ended for ", seconds, " s"));
}

}  // namespace diptych
