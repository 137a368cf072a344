// grpc.health.v1: what load balancers and probes ask. gRPC's own keeps what each of its watchers has sent, whatever its
// length.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/grpc/raw_service.h"
#include "common/mutex.h"
#include "grpc/health/v1/health.pb.h"

namespace diptych {

// Thread-safe. Must outlive its calls.
class HealthService final : public RawService {
 public:
  // Some ten KiB each, for as long as their connections live.
  static constexpr size_t kMaxWatches = 4096;

  // At most `most_watches` at a time: over it the connection that has most gives up one for another's.
  explicit HealthService(size_t most_watches = kMaxWatches);

  // Sets the status that callers get for `service`. Until then it is unknown.
  void Set(const std::string& service, bool serving);
  // The same, but a check that is not OK ends with this error in place of NOT_SERVING: Kubernetes' probes, which have
  // no place for words with a status, show it in the pod's events. Watches get NOT_SERVING.
  void SetOrExplain(const std::string& service, absl::Status status);
  // The answer to a check of `service`; UNAVAILABLE where that is NOT_SERVING.
  absl::Status Look(const std::string& service) const;
  // Ends all watches, and those that come, with UNAVAILABLE.
  void Close();

 private:
  class Watch;

  // How a service is; `words` if a check is answered by them.
  struct Health {
    bool serving = false;
    absl::Status words;
  };

  void Set(const std::string& service, Health health);
  grpc::health::v1::HealthCheckResponse::ServingStatus StatusOf(const std::string& service) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) const;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request);
  // False if no connection has more watches than `connection` would have with one more.
  bool MakeRoomFor(const std::string& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(Watch* watch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t most_watches_;
  mutable Mutex mutex_;
  std::map<std::string, Health> health_ ABSL_GUARDED_BY(mutex_);              // by service
  std::map<std::string, std::list<Watch*>> watches_ ABSL_GUARDED_BY(mutex_);  // by connection, the oldest first
  size_t watching_ ABSL_GUARDED_BY(mutex_) = 0;                               // in all of them
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych
