#include "common/grpc/call_context.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/error_details.h"
#include "common/status.h"

namespace diptych {

absl::Status CallContext::Check(Stage stage, SteadyTime now) const {
  if (cancelled()) return CallerLeft();
  if (now >= deadline_) return DeadlinePassed(stage);
  return absl::OkStatus();
}

absl::Status CallerLeft() {
  return MakeError(absl::StatusCode::kCancelled, reason::kCancelled, "the caller went away");
}

absl::Status DeadlinePassed(Stage stage) {
  const std::string name(NameOf(stage));
  return WithDetail(MakeError(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                              absl::StrCat("the deadline passed in stage ", name)),
                    detail::kStage, name);
}

std::shared_ptr<CallContext> MakeCallContext(const grpc::ServerContextBase& context, SteadyDuration longest) {
  using std::chrono::milliseconds;
  const SteadyTime now = SteadyClock::now();
  const SteadyTime deadline = FromGrpcTime(context.raw_deadline());
  if (deadline >= now + longest) return std::make_shared<CallContext>(now + longest, CallContext::Limit::kServer);
  const SteadyDuration margin = std::clamp<SteadyDuration>((deadline - now) / 50, milliseconds(1), milliseconds(50));
  return std::make_shared<CallContext>(deadline - margin);
}

}  // namespace diptych
