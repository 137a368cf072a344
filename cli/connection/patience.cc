#include "cli/connection/patience.h"

#include <random>

#include "common/status.h"

namespace diptych::cli {

std::optional<absl::Duration> Patience::WaitAfter(const absl::Status& status, SteadyTime now) {
  if (status.code() != absl::StatusCode::kResourceExhausted || ReasonOf(status) != reason::kQueueFull) return {};
  const auto asked_for = RetryAfterOf(status);
  if (!asked_for || ++tries_ >= kMaxTries) return {};
  thread_local std::mt19937 random{std::random_device{}()};
  const absl::Duration wait = *asked_for * std::uniform_real_distribution<double>(1.0, 1.25)(random);
  if (wait >= TimeUntil(deadline_, now)) return {};
  return wait;
}

}  // namespace diptych::cli
