#include "common/grpc/health_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "common/mutex.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

using Response = grpc::health::v1::HealthCheckResponse;
using ServingStatus = Response::ServingStatus;

absl::StatusOr<std::string> ServiceIn(const grpc::ByteBuffer& bytes) {
  grpc::health::v1::HealthCheckRequest request;
  DIPTYCH_RETURN_IF_ERROR(ParseShortRequest(bytes, request));
  return std::move(*request.mutable_service());
}

grpc::ByteBuffer MessageOf(ServingStatus status) {
  Response response;
  response.set_status(status);
  return SerializeMessage(response);
}

}  // namespace

// Tells the latest status as soon as the one before has left.
class HealthService::Watch final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  Watch(HealthService& health, grpc::CallbackServerContext& context, std::string service)
      : health_(health), context_(context), connection_(context.peer()), service_(std::move(service)) {}

  const std::string& connection() const { return connection_; }
  const std::string& service() const { return service_; }
  // Also where the caller takes nothing.
  void GiveUp() { context_.TryCancel(); }

  void Tell(ServingStatus status) {
    MutexLock lock(mutex_);
    latest_ = status;
    WriteOrEnd();
  }
  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (end_) return;
    end_ = ToGrpcStatus(status);
    WriteOrEnd();
  }

 private:
  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    if (ok) WriteOrEnd();  // else OnCancel comes
  }
  void OnCancel() override { End(absl::CancelledError("the caller left")); }
  void OnDone() override {
    {
      MutexLock lock(health_.mutex_);
      health_.Forget(this);
    }
    delete this;
  }

  void WriteOrEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return;
    if (end_) {
      finished_ = true;
      return Finish(*end_);
    }
    if (writing_ || latest_ == told_) return;
    told_ = latest_;
    message_ = MessageOf(*told_);
    writing_ = true;
    StartWrite(&message_);
  }

  HealthService& health_;
  grpc::CallbackServerContext& context_;
  const std::string connection_;
  const std::string service_;
  Mutex mutex_;
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mutex_);
  std::optional<ServingStatus> latest_ ABSL_GUARDED_BY(mutex_), told_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

HealthService::HealthService(size_t most_watches)
    : RawService(grpc::health::v1::Health::service_full_name()), most_watches_(most_watches) {
  AddUnary(
      "Check", [this](auto* context, auto* request, auto* response) { return Check(context, request, response); },
      Line::kOfMethod, kShortPatience);
  AddServerStream(
      "Watch", [this](auto* context, auto* request) { return StartWatch(context, request); }, kShortPatience);
}

ServingStatus HealthService::StatusOf(const std::string& service) const {
  const auto found = health_.find(service);
  if (found == health_.end()) return Response::SERVICE_UNKNOWN;
  return found->second.serving ? Response::SERVING : Response::NOT_SERVING;
}

absl::Status HealthService::Look(const std::string& service) const {
  MutexLock lock(mutex_);
  const auto found = health_.find(service);
  if (found == health_.end()) return absl::NotFoundError("there is no such service");
  if (found->second.serving || !found->second.words.ok()) return found->second.words;
  return absl::UnavailableError("not ready");
}

void HealthService::Set(const std::string& service, bool serving) {
  Set(service, Health{.serving = serving, .words = {}});
}

void HealthService::SetOrExplain(const std::string& service, absl::Status status) {
  Set(service, Health{.serving = status.ok(), .words = std::move(status)});
}

void HealthService::Set(const std::string& service, Health health) {
  MutexLock lock(mutex_);
  health_[service] = std::move(health);
  for (const auto& [connection, watches] : watches_) {
    for (Watch* const watch : watches) {
      if (watch->service() == service) watch->Tell(StatusOf(service));
    }
  }
}

void HealthService::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (const auto& [connection, watches] : watches_) {
    for (Watch* const watch : watches) watch->End(absl::UnavailableError("the server is shutting down"));
  }
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) const {
  const absl::StatusOr<std::string> service = ServiceIn(*request);
  if (!service.ok()) return ReplyNow(*context, service.status());
  MutexLock lock(mutex_);
  const auto found = health_.find(*service);
  if (found == health_.end()) return ReplyNow(*context, absl::NotFoundError("there is no such service"));
  *response = MessageOf(StatusOf(*service));
  return ReplyNow(*context, found->second.words);
}

bool HealthService::MakeRoomFor(const std::string& connection) {
  const auto most = std::max_element(watches_.begin(), watches_.end(), [](const auto& one, const auto& other) {
    return one.second.size() < other.second.size();
  });
  const auto own = watches_.find(connection);
  const size_t would_have = 1 + (own == watches_.end() ? 0 : own->second.size());
  if (most == watches_.end() || most->second.size() <= would_have) return false;
  Watch* const goes = most->second.front();
  Forget(goes);
  goes->GiveUp();
  return true;
}

void HealthService::Forget(Watch* watch) {
  const auto own = watches_.find(watch->connection());
  if (own == watches_.end()) return;
  watching_ -= own->second.remove(watch);
  if (own->second.empty()) watches_.erase(own);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* HealthService::StartWatch(grpc::CallbackServerContext* context,
                                                                      const grpc::ByteBuffer* request) {
  absl::StatusOr<std::string> service = ServiceIn(*request);
  auto* watch = new Watch(*this, *context, service.ok() ? *service : "");
  MutexLock lock(mutex_);
  if (!service.ok()) {
    watch->End(service.status());
  } else if (closed_ || (watching_ >= most_watches_ && !MakeRoomFor(watch->connection()))) {
    watch->End(RetryLater(absl::StatusCode::kUnavailable, reason::kQueueFull, "this server takes no more watches",
                          absl::Seconds(1)));
  } else {
    watches_[watch->connection()].push_back(watch);
    ++watching_;
    watch->Tell(StatusOf(watch->service()));
  }
  return watch;
}

}  // namespace diptych
