#include "common/grpc/call_gate.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

void CallGate::Ticket::Release() {
  CallGate* gate = std::exchange(gate_, nullptr);
  if (gate == nullptr) return;
  // Notified under the lock: the gate may be destroyed as soon as a waiter sees it empty.
  MutexLock lock(gate->mutex_);
  --gate->inside_;
  gate->left_.NotifyAll();
}

absl::StatusOr<CallGate::Ticket> CallGate::Enter() {
  MutexLock lock(mutex_);
  if (closed_) {
    return RetryLater(absl::StatusCode::kUnavailable, reason::kDraining, "this server is shutting down", kRetryAfter);
  }
  if (inside_ >= limit_) {
    return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                      limit_ == 1 ? "the one place of this server is taken"
                                  : absl::StrCat("all ", limit_, " places of this server are taken"),
                      kRetryAfter);
  }
  ++inside_;
  return Ticket(this);
}

void CallGate::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

bool CallGate::WaitUntilEmpty(absl::Duration timeout) {
  const SteadyTime until = FromNow(timeout);
  MutexLock lock(mutex_);
  while (inside_ > 0 && left_.WaitUntil(lock, until)) {
  }
  return inside_ == 0;
}

int CallGate::inside() const {
  MutexLock lock(mutex_);
  return inside_;
}

}  // namespace diptych
