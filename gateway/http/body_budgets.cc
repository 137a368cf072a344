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
  lease.address_ = shares_.Of(absl::StrCat("address ", CallerHost(address)));
  if (!caller.empty()) lease.caller_ = shares_.Of(absl::StrCat("caller ", caller));
  lease.of_all_ = LeaseOf(&all_);
  lease.of_address_ = LeaseOf(lease.address_.get());
  lease.of_caller_ = LeaseOf(lease.caller_.get());
  return lease;
}

}  // namespace diptych::gateway
