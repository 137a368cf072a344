#include "gateway/http/body_budgets.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "gateway/http/caller_host.h"

namespace diptych::gateway {
namespace {

// Of nothing yet; an empty one for null.
ByteBudget::Lease LeaseOf(ByteBudget* budget) {
  return budget == nullptr ? ByteBudget::Lease() : *budget->Take(0);
}

}  // namespace

absl::Status BodyBudgets::Lease::Grow(int64_t bytes) {
  const int64_t before = of_all_.bytes();
  absl::Status status = of_address_.Grow(bytes);
  if (status.ok() && caller_ != nullptr) status = of_caller_.Grow(bytes);
  if (status.ok()) status = of_all_.Grow(bytes);
  if (!status.ok()) ShrinkTo(before);
  return status;
}

void BodyBudgets::Lease::ShrinkTo(int64_t bytes) {
  of_all_.ShrinkTo(bytes);
  of_address_.ShrinkTo(bytes);
  of_caller_.ShrinkTo(bytes);
}

BodyBudgets::Lease BodyBudgets::Open(const boost::asio::ip::address& address, const std::string& caller) {
  Lease lease;
  lease.address_ = ShareOf(absl::StrCat("address ", CallerHost(address)));
  if (!caller.empty()) lease.caller_ = ShareOf(absl::StrCat("caller ", caller));
  lease.of_all_ = LeaseOf(&all_);
  lease.of_address_ = LeaseOf(lease.address_.get());
  lease.of_caller_ = LeaseOf(lease.caller_.get());
  return lease;
}

std::shared_ptr<ByteBudget> BodyBudgets::ShareOf(const std::string& name) {
  MutexLock lock(mutex_);
  std::weak_ptr<ByteBudget>& kept = shares_[name];
  auto budget = kept.lock();
  if (budget == nullptr) {
    std::erase_if(shares_, [&](const auto& entry) { return entry.second.expired() && entry.first != name; });
    budget = std::make_shared<ByteBudget>(share_);
    kept = budget;
  }
  return budget;
}

}  // namespace diptych::gateway
