// Bounds the calls that a service works on at a time, and refuses new ones while the process drains.
#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"

namespace diptych {

// Thread-safe. Must outlive its tickets.
class CallGate {
 public:
  // The place of one admitted call, released when destroyed. Movable. Thread-compatible.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      Release();
      gate_ = std::exchange(other.gate_, nullptr);
      return *this;
    }
    ~Ticket() { Release(); }
    // Idempotent.
    void Release();

   private:
    friend class CallGate;
    explicit Ticket(CallGate* gate) : gate_(gate) {}
    CallGate* gate_ = nullptr;
  };

  explicit CallGate(int limit) : limit_(limit) {}

  CallGate(const CallGate&) = delete;
  CallGate& operator=(const CallGate&) = delete;

  // RESOURCE_EXHAUSTED with QUEUE_FULL and a time to retry when `limit` calls are inside; UNAVAILABLE with
  // DRAINING once closed. Never waits.
  absl::StatusOr<Ticket> Enter();

  // Makes every later Enter fail. Idempotent.
  void Close();

  // Waits until no call is inside; false after `timeout`.
  bool WaitUntilEmpty(absl::Duration timeout);

  // Calls inside now.
  int inside() const;

 private:
  const int limit_;
  mutable Mutex mutex_;
  CondVar left_;
  int inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych
