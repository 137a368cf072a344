// Decides at once whether a question is taken.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/call_gate.h"
#include "common/question_limits.h"
#include "diptych/v1/gateway.pb.h"

namespace diptych::gateway {

// Thread-safe.
class Admission {
 public:
  Admission(QuestionLimits limits, int max_inflight)
      : limits_(limits), max_inflight_(max_inflight), gate_(max_inflight) {}

  // A place for the question, which is held as long as the ticket lives. Errors: those of CheckQuestion;
  // NOT_FOUND with MODEL_UNKNOWN if it names another model than `served_model` (empty: not known yet);
  // those of CallGate::Enter. Faults of the question come first: waiting would not mend them.
  absl::StatusOr<CallGate::Ticket> Admit(const v1::Question& question, std::string_view served_model);

  CallGate& gate() { return gate_; }
  v1::Limits ToProto() const;

 private:
  const QuestionLimits limits_;
  const int max_inflight_;
  CallGate gate_;
};

}  // namespace diptych::gateway
