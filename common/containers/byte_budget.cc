#include "common/containers/byte_budget.h"

#include <algorithm>

#include "common/status.h"

namespace diptych {
namespace {

constexpr absl::Duration kMemoryRetryAfter = absl::Seconds(1);

}  // namespace

absl::Status ByteBudget::Lease::Grow(int64_t bytes) {
  DIPTYCH_RETURN_IF_ERROR(budget_->Add(bytes));
  bytes_ += bytes;
  return absl::OkStatus();
}

void ByteBudget::Lease::ShrinkTo(int64_t bytes) {
  const int64_t surplus = bytes_ - std::max<int64_t>(bytes, 0);
  if (surplus <= 0) return;
  budget_->GiveBack(surplus);
  bytes_ -= surplus;
}

ByteBudget::Lease ByteBudget::Lease::Split(int64_t bytes) {
  const int64_t part = std::clamp<int64_t>(bytes, 0, bytes_);
  bytes_ -= part;
  return Lease(budget_, part);
}

absl::StatusOr<ByteBudget::Lease> ByteBudget::Take(int64_t bytes) {
  DIPTYCH_RETURN_IF_ERROR(Add(bytes));
  return Lease(this, bytes);
}

int64_t ByteBudget::taken() const {
  MutexLock lock(mutex_);
  return taken_;
}

absl::Status ByteBudget::Add(int64_t bytes) {
  MutexLock lock(mutex_);
  if (bytes > limit_ - taken_) {
    return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                      "this server holds as many bytes as it may", kMemoryRetryAfter);
  }
  taken_ += bytes;
  return absl::OkStatus();
}

void ByteBudget::GiveBack(int64_t bytes) {
  MutexLock lock(mutex_);
  taken_ -= bytes;
}

std::shared_ptr<ByteBudget> ByteBudgets::Of(const std::string& name) {
  MutexLock lock(mutex_);
  std::weak_ptr<ByteBudget>& kept = held_[name];
  auto budget = kept.lock();
  if (budget == nullptr) {
    std::erase_if(held_, [&](const auto& entry) { return entry.second.expired() && entry.first != name; });
    budget = std::make_shared<ByteBudget>(each_);
    kept = budget;
  }
  return budget;
}

}  // namespace diptych
