#include "common/replica_channels.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "common/grpc_status.h"
#include "common/log.h"
#include "common/status.h"

namespace diptych {
namespace {

// A replica that works says something within that time, or its queue is full.
constexpr SteadyDuration kSilence = std::chrono::seconds(5);

// Not of a call that reached no replica, whose peer is the whole target.
bool IsAddress(const std::string& peer) {
  return (absl::StartsWith(peer, "ipv4:") || absl::StartsWith(peer, "ipv6:")) && !absl::StrContains(peer, ',');
}

bool HasReason(const grpc::Status& status) {
  return !ReasonOf(FromGrpcStatus(status)).empty();
}

bool IsSilence(const CallEnd& call, SteadyTime now) {
  return !call.was_heard && now - call.asked >= kSilence && !HasReason(call.status);
}

}  // namespace

ReplicaVerdict VerdictOf(const CallEnd& call, SteadyTime now) {
  if (!IsAddress(call.replica)) return ReplicaVerdict::kNone;
  switch (call.status.error_code()) {
    case grpc::StatusCode::OK:
      return ReplicaVerdict::kAnswered;
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::DATA_LOSS:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return ReplicaVerdict::kFailed;
    case grpc::StatusCode::CANCELLED:
      return call.was_cancelled ? ReplicaVerdict::kNone : ReplicaVerdict::kFailed;
    case grpc::StatusCode::UNAVAILABLE:  // with a reason: it drains, or misses a tier of its own
      return HasReason(call.status) ? ReplicaVerdict::kNone : ReplicaVerdict::kFailed;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return IsSilence(call, now) ? ReplicaVerdict::kFailed : ReplicaVerdict::kNone;
    default:
      return ReplicaVerdict::kNone;
  }
}

absl::StatusOr<std::shared_ptr<ReplicaChannels>> ReplicaChannels::Open(const ChannelOptions& options,
                                                                       std::string tier) {
  DIPTYCH_ASSIGN_OR_RETURN(auto maker, ChannelMaker::Open(options));
  return std::shared_ptr<ReplicaChannels>(new ReplicaChannels(std::move(maker), std::move(tier)));
}

std::shared_ptr<grpc::Channel> ReplicaChannels::Pick(SteadyTime now) {
  MutexLock lock(mutex_);
  if (until_ && now >= *until_) Choose(now);
  if (some_ == nullptr) return nullptr;
  const bool is_lost = some_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
  return is_lost ? nullptr : some_;
}

void ReplicaChannels::OnEnd(const CallEnd& call, SteadyTime now) {
  const ReplicaVerdict verdict = VerdictOf(call, now);
  if (verdict == ReplicaVerdict::kNone) return;
  MutexLock lock(mutex_);
  verdict == ReplicaVerdict::kAnswered ? detection_.OnAnswer(call.replica, now) : OnFailure(call, now);
}

void ReplicaChannels::OnFailure(const CallEnd& call, SteadyTime now) {
  const auto pause = detection_.OnFailure(call.replica, call.asked, now);
  if (!pause) return;
  spdlog::warn("the {} replica at {} failed {} times in a row, the last time with {}: it is asked nothing for {}",
               tier_, call.replica, OutlierDetection::kFailures,
               absl::StatusCodeToString(FromGrpcStatus(call.status).code()),
               absl::FormatDuration(absl::FromChrono(*pause)));
  Choose(now);
}

void ReplicaChannels::Choose(SteadyTime now) {
  until_ = detection_.NextReturn(now);
  some_ = until_ ? maker_->MakeTo(detection_.Remaining(now)) : nullptr;
}

}  // namespace diptych
