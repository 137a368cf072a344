#include "common/grpc/grpc_status.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/error_details.h"
#include "common/grpc/metadata.h"
#include "common/status.h"
#include "common/text/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace diptych {
namespace {

constexpr char kDomain[] = "diptych";

// Both can name what a caller has named. They travel in headers, three times and some of it as base64: more than 8 KiB
// of these ends a whole connection of many a client and proxy.
constexpr size_t kMessageBytes = 1024, kFieldBytes = 256;

std::string MessageOf(const absl::Status& status) {
  return HeaderText(ClipText({status.message().data(), status.message().size()}, kMessageBytes));
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(MessageOf(status));
  google::rpc::ErrorInfo info;
  info.set_reason(PublicReasonOf(status));
  info.set_domain(kDomain);
  for (const std::string_view key : detail::kAll) {
    if (std::string value = DetailOf(status, key); !value.empty()) {
      (*info.mutable_metadata())[std::string(key)] = std::move(value);
    }
  }
  rpc.add_details()->PackFrom(info);
  if (const std::string field = FieldOf(status); !field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(ClipText(field, kFieldBytes));
    violation->set_description(rpc.message());
    rpc.add_details()->PackFrom(bad);
  }
  if (const auto after = RetryAfterOf(status)) {
    google::rpc::RetryInfo retry;
    const int64_t milliseconds = absl::ToInt64Milliseconds(*after);
    retry.mutable_retry_delay()->set_seconds(milliseconds / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(milliseconds % 1000) * 1'000'000);
    rpc.add_details()->PackFrom(retry);
  }
  return rpc;
}

absl::Status Rebuild(absl::StatusCode code, const std::string& reason, const std::string& field,
                     std::optional<absl::Duration> after, const std::string& message) {
  if (after) return RetryLater(code, reason, message, *after);
  if (!field.empty() && code == absl::StatusCode::kInvalidArgument) return InvalidField(reason, field, message);
  return MakeError(code, reason, message);
}

absl::Status WithDetails(absl::Status status, const google::rpc::ErrorInfo& info) {
  for (const std::string_view key : detail::kAll) {
    const auto found = info.metadata().find(std::string(key));
    if (found != info.metadata().end()) status = WithDetail(std::move(status), key, found->second);
  }
  return status;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), MessageOf(status),
                      ToRpcStatus(status).SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::ErrorInfo info;
  std::string field;
  std::optional<absl::Duration> after;
  google::rpc::Status rpc;
  if (!status.error_details().empty() && rpc.ParseFromString(status.error_details())) {
    for (const auto& detail : rpc.details()) {
      google::rpc::BadRequest bad;
      google::rpc::RetryInfo retry;
      if (detail.UnpackTo(&info)) continue;
      if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
        field = bad.field_violations(0).field();
      } else if (detail.UnpackTo(&retry)) {
        after = absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
      }
    }
  }
  return WithDetails(Rebuild(code, info.reason(), field, after, status.error_message()), info);
}

}  // namespace diptych
