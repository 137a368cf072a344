#include "common/engine_health.h"

#include <chrono>

#include "absl/strings/str_cat.h"

namespace diptych {

bool EngineHealth::End(bool sound) {
  begin_ = SteadyTime{};
  failures_ = sound ? 0 : failures_ + 1;
  return failures_ >= kFailuresBeforeTrial;
}

void EngineHealth::Tried(bool sound) {
  failures_ = 0;
  if (!sound) failed_ = true;
}

void EngineHealth::LoseDevice() {
  begin_ = SteadyTime{};
  device_lost_ = true;
}

absl::Status EngineHealth::Check(SteadyTime now) const {
  if (device_lost_) return absl::UnavailableError("the device failed; the errors before this line say how");
  if (failed_) {
    return absl::UnavailableError(
        absl::StrCat("the engine failed ", kFailuresBeforeTrial, " times in a row, and on an input of its own"));
  }
  const SteadyTime begin = begin_;
  if (begin == SteadyTime{} || now - begin <= longest_pass_) return absl::OkStatus();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - begin).count();
  return absl::UnavailableError(absl::StrCat("a pass of the engine has not ended for ", seconds, " s"));
}

}  // namespace diptych
