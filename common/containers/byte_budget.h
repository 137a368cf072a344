// Memory that requests may hold, accounted before it is taken.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"

namespace diptych {

// Thread-safe. Must outlive its leases.
class ByteBudget {
 public:
  // A number of reserved bytes. Released when it is destroyed. Movable. Thread-compatible.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Lease& operator=(Lease&& other) noexcept {
      Release();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      return *this;
    }
    ~Lease() { Release(); }

    // The errors of Take; the lease is then as it was. Requires: not empty, bytes >= 0.
    absl::Status Grow(int64_t bytes);
    // Gives back what is over `bytes`; a lease that is smaller stays as it is.
    void ShrinkTo(int64_t bytes);
    // Moves this many bytes, or all there are, into a lease of their own.
    Lease Split(int64_t bytes);
    // Idempotent.
    void Release() { ShrinkTo(0); }

    int64_t bytes() const { return bytes_; }

   private:
    friend class ByteBudget;
    Lease(ByteBudget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}

    ByteBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  // A limit below what a single request may need always refuses that request: check it where options are read.
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // RESOURCE_EXHAUSTED with QUEUE_FULL and a time to retry if fewer bytes are left. Never waits. Requires: bytes >= 0.
  absl::StatusOr<Lease> Take(int64_t bytes);

  int64_t limit() const { return limit_; }
  int64_t taken() const;

 private:
  absl::Status Add(int64_t bytes);
  void GiveBack(int64_t bytes);

  const int64_t limit_;
  mutable Mutex mutex_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Budgets of one size, one for each name. Thread-safe.
class ByteBudgets {
 public:
  explicit ByteBudgets(int64_t each) : each_(each) {}

  // The same one for a name as long as anybody holds it: hold it longer than its leases.
  std::shared_ptr<ByteBudget> Of(const std::string& name);

 private:
  const int64_t each_;
  Mutex mutex_;
  std::map<std::string, std::weak_ptr<ByteBudget>> held_
      ABSL_GUARDED_BY(mutex_);  // and some that nobody holds any more
};

}  // namespace diptych
