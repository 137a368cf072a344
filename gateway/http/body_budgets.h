// Memory for the bodies of requests, by who sends them.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/containers/byte_budget.h"

namespace diptych::gateway {

// Bounds what all bodies take together, and what those of one address and those of one caller do. Thread-safe; must
// outlive its leases.
class BodyBudgets {
 public:
  // The share of one body. Given back when it is destroyed. Movable. Thread-compatible.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&&) = default;
    Lease& operator=(Lease&& other) noexcept {
      Release();  // before the budgets that it holds a share of
      address_ = std::move(other.address_);
      caller_ = std::move(other.caller_);
      of_all_ = std::move(other.of_all_);
      of_address_ = std::move(other.of_address_);
      of_caller_ = std::move(other.of_caller_);
      return *this;
    }
    ~Lease() = default;
    // RESOURCE_EXHAUSTED with QUEUE_FULL if that does not fit; what is held stays. Requires: not default-constructed.
    absl::Status Grow(int64_t bytes);
    // False if not even an idle server has room for so many more. Requires: not default-constructed.
    bool MayGrow(int64_t bytes) const { return bytes <= address_->limit() - of_all_.bytes(); }
    void ShrinkTo(int64_t bytes);
    void Release() { ShrinkTo(0); }
    bool is_empty() const { return address_ == nullptr; }
    int64_t bytes() const { return of_all_.bytes(); }

   private:
    friend class BodyBudgets;
    std::shared_ptr<ByteBudget> address_, caller_;  // before the leases that come from them; caller_ may be null
    ByteBudget::Lease of_all_, of_address_, of_caller_;
  };

  // `limit` of all, `share` of one address and of one caller.
  BodyBudgets(int64_t limit, int64_t share) : all_(limit), shares_(share) {}

  // A lease of nothing yet. `caller`: the name of its key, empty where there is none. Addresses count by their host
  // (caller_host.h).
  Lease Open(const boost::asio::ip::address& address, const std::string& caller);

 private:
  ByteBudget all_;
  ByteBudgets shares_;  // of addresses and callers
};

}  // namespace diptych::gateway
