#include "common/error_details.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych {
namespace {

std::string DetailUrl(std::string_view key) {
  return absl::StrCat("diptych/detail/", absl::string_view(key.data(), key.size()));
}

}  // namespace

absl::Status WithDetail(absl::Status status, std::string_view key, std::string_view value) {
  status.SetPayload(DetailUrl(key), absl::Cord(absl::string_view(value.data(), value.size())));
  return status;
}

std::string DetailOf(const absl::Status& status, std::string_view key) {
  const auto payload = status.GetPayload(DetailUrl(key));
  return payload ? std::string(*payload) : std::string();
}

std::string PublicReasonOf(const absl::Status& status) {
  std::string reason = ReasonOf(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

}  // namespace diptych
