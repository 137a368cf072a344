// Times one answer as its caller sees it.
#pragma once

#include <optional>

#include "common/metrics/token_gaps.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// Thread-compatible.
class AnswerClock {
 public:
  explicit AnswerClock(SteadyTime arrival) : arrival_(arrival) {}

  // Call with each delta; the first that stands for a token counts as the first token. Returns the gaps before its
  // tokens.
  TokenGaps OnDelta(const v1::Delta& delta, SteadyTime now);

  // From the arrival to the first token, if there was one.
  std::optional<SteadyDuration> time_to_first_token() const {
    if (!first_token_) return std::nullopt;
    return *first_token_ - arrival_;
  }

  // Completes the timings of the language tier, which was asked at `asked`: what this process saw beyond the tier's
  // total is added to `gateway`; `total`, `first_token` and `time_to_first_token` run from the arrival here, the
  // last two to the end if there is no token. The sum of the stages stays the total.
  void Join(v1::StageTimings& timings, SteadyTime asked, SteadyTime now) const;

 private:
  const SteadyTime arrival_;
  std::optional<SteadyTime> first_token_;
  TokenArrivals arrivals_;
};

}  // namespace diptych::gateway
