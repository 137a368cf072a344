#include "common/grpc/call_timer.h"

#include "common/grpc/steady_deadline.h"
#include "common/mutex.h"

namespace diptych {

class CallTimer::Target {
 public:
  explicit Target(const grpc::ServerContextBase& context) : context_(&context) {}

  void Cancel() {
    MutexLock lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
  void Forget() {
    MutexLock lock(mutex_);
    context_ = nullptr;
  }

 private:
  Mutex mutex_;
  const grpc::ServerContextBase* context_ ABSL_GUARDED_BY(mutex_);  // null once the call is over
};

CallTimer::CallTimer(const grpc::ServerContextBase& context, SteadyTime at)
    : target_(std::make_shared<Target>(context)) {
  alarm_.Set(at, [target = target_](bool in_time) {
    if (in_time) target->Cancel();
  });
}

CallTimer::~CallTimer() {
  target_->Forget();
}

}  // namespace diptych
