#include "common/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

constexpr char kReasonUrl[] = "diptych/reason";
constexpr char kFieldUrl[] = "diptych/field";
constexpr char kRetryUrl[] = "diptych/retry_after_ms";

absl::string_view ToAbsl(std::string_view s) {
  return absl::string_view(s.data(), s.size());
}

std::string PayloadText(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, std::string_view reason, std::string_view message) {
  absl::Status status(code, ToAbsl(message));
  if (!reason.empty()) status.SetPayload(kReasonUrl, absl::Cord(ToAbsl(reason)));
  return status;
}

absl::Status InvalidField(std::string_view reason, std::string_view field, std::string_view message) {
  absl::Status status = MakeError(absl::StatusCode::kInvalidArgument, reason, message);
  status.SetPayload(kFieldUrl, absl::Cord(ToAbsl(field)));
  return status;
}

absl::Status RetryLater(absl::StatusCode code, std::string_view reason, std::string_view message,
                        absl::Duration after) {
  absl::Status status = MakeError(code, reason, message);
  status.SetPayload(kRetryUrl, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(after))));
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  return PayloadText(status, kReasonUrl);
}

bool IsDeviceLost(const absl::Status& status) {
  return absl::IsUnavailable(status) && ReasonOf(status) == reason::kDeviceLost;
}

std::string FieldOf(const absl::Status& status) {
  return PayloadText(status, kFieldUrl);
}

std::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  int64_t milliseconds = 0;
  if (!absl::SimpleAtoi(PayloadText(status, kRetryUrl), &milliseconds)) return std::nullopt;
  return absl::Milliseconds(milliseconds);
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(ToAbsl(context), ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace diptych
