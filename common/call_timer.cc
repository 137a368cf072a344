#include "common/call_timer.h"

#include <mutex>

#include "common/call_watch.h"

namespace diptych {

struct CallTimer::Target {
  std::mutex mutex;
  const grpc::ServerContextBase* context;  // null once the call is over

  void Cancel() {
    std::lock_guard lock(mutex);
    if (context != nullptr) context->TryCancel();
  }
  void Forget() {
    std::lock_guard lock(mutex);
    context = nullptr;
  }
};

CallTimer::CallTimer(const grpc::ServerContextBase& context, SteadyTime at) : target_(std::make_shared<Target>()) {
  target_->context = &context;
  alarm_.Set(ToSystemTime(at), [target = target_](bool in_time) {
    if (in_time) target->Cancel();
  });
}

CallTimer::~CallTimer() {
  target_->Forget();
}

}  // namespace diptych
