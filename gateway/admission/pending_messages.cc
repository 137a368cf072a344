#include "gateway/admission/pending_messages.h"

#include "common/grpc/raw_service.h"

namespace diptych::gateway {

PendingMessages::Message PendingMessages::Begin(const Caller& caller) {
  if (caller == nullptr) return {.patience = kLongPatience, .place = nullptr};
  int pending = 0;
  {
    MutexLock lock(state_->mutex);
    pending = ++state_->pending[caller->name];
  }
  const auto leave = [state = state_, name = caller->name](void*) {
    MutexLock lock(state->mutex);
    if (const auto own = state->pending.find(name); --own->second == 0) state->pending.erase(own);
  };
  return {.patience = pending <= most_patient_ ? kLongPatience : kShortPatience,
          .place = std::shared_ptr<void>(nullptr, leave)};
}

}  // namespace diptych::gateway
