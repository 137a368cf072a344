// Decides at once whether a question is taken.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/byte_budget.h"
#include "common/call_gate.h"
#include "common/question_limits.h"
#include "diptych/v1/gateway.pb.h"

namespace diptych::gateway {

// Thread-safe.
class Admission {
 public:
  Admission(QuestionLimits limits, int max_inflight, int64_t max_inflight_bytes)
      : limits_(limits), max_inflight_(max_inflight), gate_(max_inflight), memory_(max_inflight_bytes) {}

  // What the gateway holds for a request message of this many bytes. Comes before the message is read; the lease lives
  // as long as the question. RESOURCE_EXHAUSTED with QUEUE_FULL if it does not fit beside the others.
  absl::StatusOr<ByteBudget::Lease> Reserve(int64_t message_bytes);
  // The least max_inflight_bytes with which every question within `limits` can be taken.
  static int64_t LeastBytes(const QuestionLimits& limits);

  // A place for the question, which is held as long as the ticket lives. Errors: those of CheckQuestion;
  // NOT_FOUND with MODEL_UNKNOWN if it names another model than `served_model` (empty: not known yet);
  // those of CallGate::Enter. Faults of the question come first: waiting would not mend them.
  absl::StatusOr<CallGate::Ticket> Admit(const v1::Question& question, std::string_view served_model);

  CallGate& gate() { return gate_; }
  const ByteBudget& memory() const { return memory_; }
  v1::Limits ToProto() const;

 private:
  const QuestionLimits limits_;
  const int max_inflight_;
  CallGate gate_;
  ByteBudget memory_;
};

}  // namespace diptych::gateway
