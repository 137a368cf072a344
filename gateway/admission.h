// Decides at once whether a question is taken, and lets it in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/byte_budget.h"
#include "common/call_gate.h"
#include "common/question_limits.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/api_keys.h"
#include "gateway/fair_gate.h"

namespace diptych::gateway {

// Thread-safe.
class Admission {
 public:
  // With a `waiting_room` questions may wait for a place; with `image_urls` pictures may be given by address.
  Admission(QuestionLimits limits, int max_inflight, int64_t max_inflight_bytes, int waiting_room = 0,
            bool image_urls = false)
      : limits_(limits),
        image_urls_(image_urls),
        max_inflight_(max_inflight),
        gate_(FairGate::Make(max_inflight, waiting_room)),
        memory_(max_inflight_bytes) {}

  // Memory that one question holds, counted for all and for its caller.
  class Memory {
   public:
    // The errors of Reserve; what is held stays.
    absl::Status Grow(int64_t message_bytes);

   private:
    friend class Admission;
    std::shared_ptr<ByteBudget> callers_;
    ByteBudget::Lease of_caller_;
    ByteBudget::Lease of_all_;
  };

  // What the gateway holds for a request message of this many bytes. Comes before the message is read; lives as long as
  // the question. RESOURCE_EXHAUSTED with QUEUE_FULL if it does not fit beside the others, or if a caller with a key
  // would hold more than half of all there is and more than the largest question needs.
  absl::StatusOr<Memory> Reserve(const Caller& caller, int64_t message_bytes);
  // The least max_inflight_bytes with which every question within `limits` can be taken.
  static int64_t LeastBytes(const QuestionLimits& limits);

  // Errors: those of CheckQuestion, where an address that may be fetched passes, unread, and what follows it is not
  // looked at: check again when it has been fetched; NOT_FOUND with MODEL_UNKNOWN if it names another model than
  // `served_model` (empty: not known yet). Comes before the gate: waiting would not mend these.
  absl::Status Check(const v1::Question& question, std::string_view served_model) const;

  FairGate& gate() { return *gate_; }
  const ByteBudget& memory() const { return memory_; }
  v1::Limits ToProto() const;

 private:
  std::shared_ptr<ByteBudget> BudgetOf(const Caller& caller);

  const QuestionLimits limits_;
  const bool image_urls_;
  const int max_inflight_;
  const std::shared_ptr<FairGate> gate_;
  ByteBudget memory_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<ByteBudget>> budgets_;  // of callers with a key, by name
};

}  // namespace diptych::gateway
