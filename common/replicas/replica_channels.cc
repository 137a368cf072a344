#include "common/replicas/replica_channels.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/steady_deadline.h"
#include "common/logging/log.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

// A replica that works says something within that time, or its queue is full.
constexpr SteadyDuration kSilence = std::chrono::seconds(5);

// Short compared with the life of a connection.
constexpr auto kRound = std::chrono::seconds(1);

// Of all replicas and a new one; of many, a quarter.
int VisitsOf(int replicas) {
  return std::min(replicas + 1, std::max(32, replicas / 4));
}

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

// Of a refusal that may be this replica's alone: it is full, drains, misses a tier of its own, or holds another model.
bool MayGoBetterElsewhere(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::FAILED_PRECONDITION || RetryOf(status) == Retry::kWhereThereIsRoom;
}

struct HealthCheck {
  std::unique_ptr<grpc::health::v1::Health::Stub> stub;
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
};

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

absl::StatusOr<std::shared_ptr<ReplicaChannels>> ReplicaChannels::Open(const ChannelOptions& options, std::string tier,
                                                                       Affinity affinity, int calls_at_ease) {
  DIPTYCH_ASSIGN_OR_RETURN(auto maker, ChannelMaker::Open(options));
  return std::shared_ptr<ReplicaChannels>(
      new ReplicaChannels(std::move(maker), options.service_name, std::move(tier), affinity, calls_at_ease));
}

ReplicaChannels::ReplicaChannels(std::shared_ptr<const ChannelMaker> maker, std::string service_name, std::string tier,
                                 Affinity affinity, int calls_at_ease)
    : maker_(std::move(maker)),
      service_name_(std::move(service_name)),
      tier_(std::move(tier)),
      affinity_(affinity),
      all_(maker_->Make()),
      known_(maker_.get(), calls_at_ease) {}

Route ReplicaChannels::Pick(std::optional<AffinityKey> key, SteadyTime now) {
  MutexLock lock(mutex_);
  if (until_ && now >= *until_) Choose(now);
  Route route = key ? known_.Choose(*key, detection_, now) : Route();
  if (route.channel != nullptr || some_ == nullptr) return route;
  const bool is_lost = some_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
  return {.channel = is_lost ? nullptr : some_};
}

size_t ReplicaChannels::known() const {
  MutexLock lock(mutex_);
  return known_.ready();
}

void ReplicaChannels::OnEnd(const CallEnd& call, SteadyTime now) {
  const ReplicaVerdict verdict = VerdictOf(call, now);
  MutexLock lock(mutex_);
  if (verdict == ReplicaVerdict::kAnswered) detection_.OnAnswer(call.replica, now);
  if (verdict == ReplicaVerdict::kFailed) OnFailure(call, now);
  if (verdict == ReplicaVerdict::kFailed || MayGoBetterElsewhere(call.status)) known_.Rest(call.replica, now);
}

SteadyDuration ReplicaChannels::DownFor(SteadyTime now) {
  if (all_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY) up_ = now;
  return std::max(now - up_.load(), SteadyDuration::zero());
}

void ReplicaChannels::LookAround(SteadyTime now) {
  DownFor(now);
  for (int visits = BeginRound(now); visits > 0; --visits) Visit();
}

int ReplicaChannels::BeginRound(SteadyTime now) {
  if (affinity_ == Affinity::kNone) return 0;
  MutexLock lock(mutex_);
  if (now < next_round_) return 0;
  next_round_ = now + kRound;
  known_.ForgetOld(now);
  return VisitsOf(static_cast<int>(known_.size()));
}

// gRPC does not say which replicas it uses. A health check that goes round robin shows it.
void ReplicaChannels::Visit() {
  const auto check = std::make_shared<HealthCheck>();
  check->request.set_service(service_name_);
  check->context.set_deadline(SteadyClock::now() + kRound);
  const auto on_end = [self = shared_from_this(), check](const grpc::Status& status) {
    if (!status.ok() || !IsAddress(check->context.peer())) return;
    MutexLock lock(self->mutex_);
    const bool is_new = self->known_.OnSeen(check->context.peer(), SteadyClock::now());
    if (is_new) self->next_round_ = {};  // there may be more
  };
  check->stub = grpc::health::v1::Health::NewStub(all_);
  check->stub->async()->Check(&check->context, &check->request, &check->response, on_end);
}

void ReplicaChannels::AddMetrics(MetricRegistry& registry) {
  Gauge ejected = registry.AddGauge("diptych_ejected_replicas",
                                    "Replicas of the tier that are asked nothing because they failed again and again.",
                                    {{"tier", tier_}});
  registry.OnCollect([this, ejected]() mutable { ejected.Set(Ejected(SteadyClock::now())); });
}

int ReplicaChannels::Ejected(SteadyTime now) {
  MutexLock lock(mutex_);
  return detection_.Ejected(now);
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
