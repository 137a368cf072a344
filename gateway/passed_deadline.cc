#include "gateway/passed_deadline.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/error_details.h"
#include "common/status.h"

namespace diptych::gateway {

absl::Status ExplainDeadline(const absl::Status& status, const CallContext& call, const ServerLimit& limit) {
  if (!absl::IsDeadlineExceeded(status)) return status;
  const bool callers = call.limit() == CallContext::Limit::kCaller;
  const std::string flag(limit.flag);
  std::string message = absl::StrCat(status.message(), "; ");
  if (callers) {
    absl::StrAppend(&message, "allow the request more time");
  } else {
    absl::StrAppend(&message, "this server gives a request ", absl::FormatDuration(absl::FromChrono(limit.longest)),
                    flag.empty() ? "" : absl::StrCat(" (--", flag, ")"));
  }
  absl::Status explained = MakeError(status.code(), PublicReasonOf(status), message);
  if (const std::string stage = DetailOf(status, detail::kStage); !stage.empty()) {
    explained = WithDetail(explained, detail::kStage, stage);
  }
  return WithDetail(explained, detail::kLimit, callers ? "caller" : flag.empty() ? "server" : flag);
}

}  // namespace diptych::gateway
