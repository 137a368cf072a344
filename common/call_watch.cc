#include "common/call_watch.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace diptych {

absl::Status CallWatch::Check(std::string_view stage, SteadyTime now) const {
  if (cancelled()) return absl::CancelledError("the caller went away");
  if (now >= deadline_) return DeadlinePassed(stage);
  return absl::OkStatus();
}

absl::Status DeadlinePassed(std::string_view stage) {
  return absl::DeadlineExceededError(absl::StrCat("the deadline passed in stage ", std::string(stage)));
}

std::shared_ptr<CallWatch> WatchCall(const grpc::ServerContextBase& context, SteadyDuration longest) {
  using std::chrono::milliseconds;
  const SteadyTime now = SteadyClock::now();
  const auto deadline = context.deadline();
  const auto system_now = std::chrono::system_clock::now();
  if (deadline >= system_now + longest) return std::make_shared<CallWatch>(now + longest);
  const SteadyDuration left = deadline - system_now;
  const SteadyDuration margin = std::clamp<SteadyDuration>(left / 50, milliseconds(1), milliseconds(50));
  return std::make_shared<CallWatch>(now + left - margin);
}

std::chrono::system_clock::time_point ToSystemTime(SteadyTime deadline) {
  return std::chrono::system_clock::now() + (deadline - SteadyClock::now());
}

}  // namespace diptych
