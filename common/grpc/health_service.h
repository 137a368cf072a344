// grpc.health.v1: what load balancers and probes ask. gRPC's own keeps what each of its watchers has sent, whatever its
// length.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/grpc/raw_service.h"
#include "common/mutex.h"
#include "grpc/health/v1/health.pb.h"

namespace diptych {

// Thread-safe. Must outlive its calls.
class HealthService final : public RawService {
 public:
  HealthService();

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
  grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(const grpc::ByteBuffer* request);

  mutable Mutex mutex_;
  std::map<std::string, Health> health_ ABSL_GUARDED_BY(mutex_);  // by service
  std::set<Watch*> watches_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych
